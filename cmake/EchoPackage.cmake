# The package for authors of plugins, in the build folder and beside the installed program: lib/cmake/Echo.

include(CMakePackageConfigHelpers)
set(_package ${CMAKE_BINARY_DIR}/lib/cmake/Echo)
configure_file(${CMAKE_CURRENT_LIST_DIR}/EchoConfig.cmake.in ${_package}/EchoConfig.cmake @ONLY)
write_basic_package_version_file(${_package}/EchoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
foreach(file FindLibTorch.cmake EchoPlugin.cmake)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${file} ${_package}/${file} COPYONLY)
endforeach()
install(DIRECTORY ${_package}/ DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Echo)
