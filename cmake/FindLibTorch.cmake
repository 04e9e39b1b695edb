# Finds LibTorch in a Python wheel or a LibTorch distribution and makes LibTorch::LibTorch.
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
  find_library(LIBTORCH_CPU_LIBRARY torch_cpu PATHS "${LIBTORCH_FOLDER}/lib" NO_DEFAULT_PATH NO_CACHE)
  find_library(LIBTORCH_C10_LIBRARY c10 PATHS "${LIBTORCH_FOLDER}/lib" NO_DEFAULT_PATH NO_CACHE)
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
  set_target_properties(
    LibTorch::LibTorch PROPERTIES
    INTERFACE_LINK_LIBRARIES "${LIBTORCH_CPU_LIBRARY};${LIBTORCH_C10_LIBRARY}"
    INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined")
endif()
