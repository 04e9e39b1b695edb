"""Runs a mixer's peer for `echo mixers KIND --speed --peers`: answers the name of a pass, one a line,
with the CPU seconds that it took once, or null. peer.py REQUEST, a JSON object that names the peer's
script and the sizes. How such a script looks: framework/src/testing/README.md."""

import importlib.util
import json
import sys
import time


def answer(value):
    print(json.dumps(value), flush=True)


def load(path):
    spec = importlib.util.spec_from_file_location("peer_of_mixer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def passes(torch, layer, request):
    shape = (request["batch"], request["length"], request["width"])
    x, gradient = torch.randn(shape), torch.randn(shape)

    def forward():
        with torch.no_grad():
            return seconds(lambda: layer(x))

    def train():
        layer.zero_grad(set_to_none=True)

        def work():
            layer(x.detach().requires_grad_(True)).backward(gradient)

        return seconds(work)

    return {"forward": forward, "forward and backward": train}


def main():
    request = json.loads(sys.argv[1])
    try:
        import torch

        torch.set_num_threads(1)
    except (ImportError, OSError, AttributeError) as problem:
        answer({"missing": f"no torch in {sys.executable} ({problem}); install it with `{sys.executable} -m pip "
                           "install torch numpy`, or name a Python that has it with ECHO_PYTHON"})
        return
    torch.manual_seed(0)
    try:
        layer = load(request["script"]).layer(request["width"], request["fields"])
    except ValueError as problem:
        answer({"missing": str(problem)})
        return
    known = passes(torch, layer, request)
    answer({"name": f"torch {torch.__version__} in Python"})
    for line in sys.stdin:
        work = known.get(line.strip())
        answer(work() if work else None)


main()
