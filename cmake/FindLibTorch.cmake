# Finds LibTorch in a Python wheel or a LibTorch distribution; makes LibTorch::LibTorch, and LibTorch::CUDA where
# ECHO_CUDA is on; sets LibTorch_VERSION and LibTorch_LIBRARY_DIR.
#
# Looks in LIBTORCH_ROOT (CMake or environment): a folder that is `torch`, or that holds `torch`. Unlike Torch's own
# package it needs no CUDA toolkit for a CPU build, and its headers come last in the search order: as -I or -isystem,
# LibTorch's copies of fmt and protobuf would shadow the system's.

set(_libtorch_hints ${LIBTORCH_ROOT} $ENV{LIBTORCH_ROOT} ${CMAKE_CURRENT_SOURCE_DIR}/.echo/libtorch)
set(_libtorch_folders)
foreach(hint IN LISTS _libtorch_hints)
  list(APPEND _libtorch_folders "${hint}/torch" "${hint}")
endforeach()

find_path(LIBTORCH_INCLUDE_DIR ATen/core/Tensor.h PATHS ${_libtorch_folders} PATH_SUFFIXES include NO_DEFAULT_PATH NO_CACHE)
if(LIBTORCH_INCLUDE_DIR)
  get_filename_component(LIBTORCH_FOLDER "${LIBTORCH_INCLUDE_DIR}" DIRECTORY)
  set(LibTorch_LIBRARY_DIR "${LIBTORCH_FOLDER}/lib")
  find_library(LIBTORCH_CPU_LIBRARY torch_cpu PATHS "${LibTorch_LIBRARY_DIR}" NO_DEFAULT_PATH NO_CACHE)
  find_library(LIBTORCH_C10_LIBRARY c10 PATHS "${LibTorch_LIBRARY_DIR}" NO_DEFAULT_PATH NO_CACHE)
  set(_libtorch_version_header "${LIBTORCH_INCLUDE_DIR}/torch/headeronly/version.h")
  if(EXISTS "${_libtorch_version_header}")
    file(STRINGS "${_libtorch_version_header}" _libtorch_version_line REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE "[^0-9;]" "" _libtorch_version_line "${_libtorch_version_line}")
    list(JOIN _libtorch_version_line "." LibTorch_VERSION)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY LIBTORCH_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "set LIBTORCH_ROOT to a folder that holds torch/ (version 2.11), or let ./echo install it")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  foreach(_dir "${LIBTORCH_INCLUDE_DIR}" "${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
    set_property(TARGET LibTorch::LibTorch APPEND PROPERTY INTERFACE_COMPILE_OPTIONS
                 "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter \"${_dir}\">")
  endforeach()
  # LibTorch is built with NDEBUG, and some of its classes (at::RecordFunction) have another layout without.
  set_target_properties(
    LibTorch::LibTorch PROPERTIES
    INTERFACE_COMPILE_DEFINITIONS NDEBUG
    INTERFACE_LINK_LIBRARIES "${LIBTORCH_CPU_LIBRARY};${LIBTORCH_C10_LIBRARY}"
    INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined")
endif()

# LibTorch::CUDA: what a program that uses GPUs links besides. It starts without a GPU too.
if(LibTorch_FOUND AND ECHO_CUDA AND NOT TARGET LibTorch::CUDA)
  find_library(LIBTORCH_CUDA_LIBRARY torch_cuda PATHS "${LibTorch_LIBRARY_DIR}" NO_DEFAULT_PATH NO_CACHE)
  find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda PATHS "${LibTorch_LIBRARY_DIR}" NO_DEFAULT_PATH NO_CACHE)
  if(NOT LIBTORCH_CUDA_LIBRARY OR NOT LIBTORCH_C10_CUDA_LIBRARY)
    message(FATAL_ERROR "ECHO_CUDA needs libtorch_cuda.so and libc10_cuda.so in ${LibTorch_LIBRARY_DIR}; \
ECHO_CUDA=1 ./echo fetches them")
  endif()
  find_package(CUDAToolkit 13 REQUIRED)
  find_library(LIBTORCH_NCCL_LIBRARY NAMES nccl libnccl.so.2 NO_CACHE
    PATHS "${CUDAToolkit_LIBRARY_DIR}" "${LIBTORCH_FOLDER}/../nvidia/nccl/lib")
  add_library(LibTorch::CUDA INTERFACE IMPORTED)
  # Only CUDA sources see the toolkit's headers: so all others compile as they do without it, and ccache has them.
  # Nothing names a symbol of libtorch_cuda; it registers itself when it is loaded, so the linker must keep it.
  set_target_properties(
    LibTorch::CUDA PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "$<$<COMPILE_LANGUAGE:CUDA>:${CUDAToolkit_INCLUDE_DIRS}>"
    INTERFACE_LINK_LIBRARIES "${LIBTORCH_C10_CUDA_LIBRARY};$<LINK_ONLY:CUDA::cudart>;$<$<BOOL:${LIBTORCH_NCCL_LIBRARY}>:${LIBTORCH_NCCL_LIBRARY}>"
    INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed,${LIBTORCH_CUDA_LIBRARY},--as-needed")
  foreach(_dir "${LIBTORCH_INCLUDE_DIR}" "${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
    set_property(TARGET LibTorch::LibTorch APPEND PROPERTY INTERFACE_COMPILE_OPTIONS
                 "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcompiler -idirafter -Xcompiler \"${_dir}\">")
  endforeach()
endif()
