# A plugin of Echo from these sources: echo_add_plugin(NAME foo.cpp bar.cpp). It becomes NAME.so in the build folder.
# With a source in CUDA (.cu) it links LibTorch's CUDA libraries, and loads into an Echo of the same CUDA version alone.
function(echo_add_plugin name)
  if(NOT ARGN)
    message(FATAL_ERROR "echo_add_plugin(${name}): name its sources, as in echo_add_plugin(${name} ${name}.cpp)")
  endif()
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE Echo::echo)
  set_target_properties(${name} PROPERTIES
    PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}"
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    CUDA_RUNTIME_LIBRARY Shared)  # LibTorch's own
  # A missing symbol is an error of the linker, not of the program that loads the plugin. Sanitizers come with the program.
  if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    target_link_options(${name} PRIVATE LINKER:-z,defs)
  endif()
  if("${ARGN}" MATCHES "\\.cu(;|$)")
    if(NOT CMAKE_CUDA_COMPILER)
      message(FATAL_ERROR "echo_add_plugin(${name}): it has a source in CUDA; write project(... LANGUAGES CXX CUDA)")
    endif()
    if(NOT TARGET LibTorch::CUDA)
      message(FATAL_ERROR "echo_add_plugin(${name}): it has a source in CUDA; write set(ECHO_CUDA ON) before find_package(Echo)")
    endif()
    target_link_libraries(${name} PRIVATE LibTorch::CUDA)
    target_compile_definitions(${name} PRIVATE
      "ECHO_CUDA_VERSION=\"${CUDAToolkit_VERSION_MAJOR}.${CUDAToolkit_VERSION_MINOR}\"")
  endif()
endfunction()
