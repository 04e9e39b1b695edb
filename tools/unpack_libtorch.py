"""Unpacks from the wheels in a folder what a C++ program needs: headers, libraries, tools, licences.

    unpack_libtorch.py CUDA WHEELS TREE      CUDA: 1 keeps the libraries of a CUDA build too (twice the disk)
"""

import fnmatch
import glob
import os
import sys
import zipfile

ALWAYS = ["torch/version.py", "torch/include/*", "*.dist-info/licenses/*"]
CPU = ["torch/lib/libtorch.so", "torch/lib/libtorch_cpu*.so*", "torch/lib/libc10.so", "torch/lib/lib*omp*.so*",
       "torch.libs/*", "nvidia/*/lib/libcudart.so*", "nvidia/*/lib/libcupti.so*"]
CUDA = ["torch/lib/*.so*", "torch.libs/*", "nvidia/*"]
NEVER = ["*/libtorch_python.so", "*/libnvperf_*"]


def wanted(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) and not any(
        fnmatch.fnmatchcase(name, pattern) for pattern in NEVER)


def main():
    cuda, wheels, tree = sys.argv[1:]
    patterns = ALWAYS + (CUDA if cuda == "1" else CPU)
    for wheel in sorted(os.listdir(wheels)):
        with zipfile.ZipFile(os.path.join(wheels, wheel)) as archive:  # checks sums while it reads
            archive.extractall(tree, [name for name in archive.namelist() if wanted(name, patterns)])
    for path in glob.glob(os.path.join(tree, "nvidia/*/**/bin/*"), recursive=True):
        os.chmod(path, 0o755)
    for path in glob.glob(os.path.join(tree, "nvidia/*/lib/*.so.*")):  # a toolkit has names without version too
        plain = path[:path.index(".so.") + 3]
        if not os.path.exists(plain):
            os.symlink(os.path.basename(path), plain)


main()
