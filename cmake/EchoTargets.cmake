# Functions that the rooms' CMakeLists use.

# Warnings, sanitizers and include paths of all our own targets.
add_library(echo_options INTERFACE)
target_compile_options(echo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-missing-field-initializers>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # False alarms of gcc 12 and 13, most of them on std::string concatenation.
  target_compile_options(echo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -Wno-maybe-uninitialized>)
endif()
if(ECHO_WERROR)
  target_compile_options(echo_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(ECHO_SANITIZE)
  target_compile_options(echo_options INTERFACE -fsanitize=${ECHO_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(echo_options INTERFACE -fsanitize=${ECHO_SANITIZE})
endif()
target_include_directories(echo_options INTERFACE ${PROJECT_SOURCE_DIR})

set(ECHO_PLUGIN_FOLDER ${CMAKE_BINARY_DIR}/lib/echo-lm)  # where the program looks for its own plugins

# One precompiled header for all targets, and one for all tests: echo_use_pch(target pch header libraries...)
function(echo_use_pch target pch header)
  if(NOT ECHO_PCH)
    return()
  endif()
  if(NOT TARGET ${pch})
    add_library(${pch} STATIC ${PROJECT_SOURCE_DIR}/framework/src/pch.cpp)
    target_link_libraries(${pch} PRIVATE echo_options LibTorch::LibTorch ${ARGN})
    target_precompile_headers(${pch} PRIVATE ${PROJECT_SOURCE_DIR}/${header})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${pch})
endfunction()

# For what goes into plugins. clang rejects a precompiled header of another visibility: there it stays as it is.
function(echo_hide_symbols target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU OR NOT ECHO_PCH)
    set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden)
  endif()
endfunction()

# Settings that every target of ours has.
function(echo_target_without_pch target)
  target_link_libraries(${target} PRIVATE echo_options)
  set_target_properties(${target} PROPERTIES DEFINE_SYMBOL "")
  target_compile_options(${target} PRIVATE -fPIC)  # programs too: the precompiled header has one set of flags
endfunction()
function(echo_target target)
  echo_target_without_pch(${target})
  echo_use_pch(${target} echo_pch framework/src/pch.h)
endfunction()

# A built-in plugin from all the sources of the calling folder's subfolder `name`: OBJECT library `<name>_objects`, that
# unit tests link, then MODULE library in the program's plugin folder, beside its peers: echo_add_builtin(name LIBRARIES x y)
function(echo_add_builtin name)
  cmake_parse_arguments(builtin "" "" "LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  if(ECHO_CUDA)
    file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cu)
    list(APPEND sources ${cuda_sources})
  endif()
  add_library(${name}_objects OBJECT ${sources})
  target_link_libraries(${name}_objects PUBLIC echo_framework Eigen3::Eigen ${builtin_LIBRARIES})
  echo_hide_symbols(${name}_objects)
  echo_target(${name}_objects)
  add_library(echo_plugin_${name} MODULE $<TARGET_OBJECTS:${name}_objects>)
  target_link_libraries(echo_plugin_${name} PRIVATE ${builtin_LIBRARIES} echo_framework echo_options)
  if(NOT ECHO_SANITIZE)
    target_link_options(echo_plugin_${name} PRIVATE -Wl,-z,defs)
  endif()
  set_target_properties(echo_plugin_${name} PROPERTIES
    OUTPUT_NAME ${name} PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${ECHO_PLUGIN_FOLDER}
    INSTALL_RPATH "$ORIGIN/..;${ECHO_LIBTORCH_RPATH}")
  install(TARGETS echo_plugin_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/echo-lm)
  set_property(GLOBAL APPEND PROPERTY ECHO_BUILTINS echo_plugin_${name})
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/peer.py)
    echo_add_script(${CMAKE_CURRENT_SOURCE_DIR}/${name}/peer.py ${name}.peer.py)
  endif()
  file(GLOB peers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.peer.py)  # of several kinds
  foreach(peer ${peers})
    get_filename_component(file ${peer} NAME)
    echo_add_script(${peer} ${file})
  endforeach()
endfunction()

# A script that the program runs, in its plugin folder under this name.
function(echo_add_script script name)
  file(MAKE_DIRECTORY ${ECHO_PLUGIN_FOLDER})
  file(CREATE_LINK ${script} ${ECHO_PLUGIN_FOLDER}/${name} SYMBOLIC)
  install(FILES ${script} DESTINATION ${CMAKE_INSTALL_LIBDIR}/echo-lm RENAME ${name})
endfunction()

# A test program of GoogleTest cases: echo_add_test(name LABEL fast SOURCES a.cpp b.cpp LIBRARIES x y)
function(echo_add_test name)
  cmake_parse_arguments(test "" "LABEL" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${test_SOURCES})
  target_link_libraries(${name} PRIVATE ${test_LIBRARIES} echo_framework GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    ECHO_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ECHO_PROGRAM="$<TARGET_FILE:echo-lm>")
  echo_target_without_pch(${name})
  echo_use_pch(${name} echo_test_pch tests/support/pch.h GTest::gmock nlohmann_json::nlohmann_json)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${test_LABEL}" SKIP_REGULAR_EXPRESSION "all tests skipped")
endfunction()

# For tests that load the program's own plugins (tests/support/builtins.h).
function(echo_test_needs_builtins name)
  get_property(builtins GLOBAL PROPERTY ECHO_BUILTINS)
  add_dependencies(${name} ${builtins})
endfunction()
