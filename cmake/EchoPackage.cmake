# The package for authors of plugins, in the build folder and beside the installed program: lib/cmake/Echo.

include(CMakePackageConfigHelpers)
set(_package ${CMAKE_BINARY_DIR}/lib/cmake/Echo)
configure_file(${CMAKE_CURRENT_LIST_DIR}/EchoConfig.cmake.in ${_package}/EchoConfig.cmake @ONLY)
write_basic_package_version_file(${_package}/EchoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
foreach(file FindLibTorch.cmake EchoPlugin.cmake)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${file} ${_package}/${file} COPYONLY)
endforeach()
install(DIRECTORY ${_package}/ DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Echo)

# The page for authors, with the links of an installed Echo, and the example that it leads to.
set(_page ${CMAKE_CURRENT_LIST_DIR}/../plugins/README.md)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_page})
file(READ ${_page} _text)
string(REPLACE "../framework/include/" "../../include/" _text "${_text}")
file(WRITE ${CMAKE_BINARY_DIR}/plugins.md "${_text}")
install(FILES ${CMAKE_BINARY_DIR}/plugins.md DESTINATION ${CMAKE_INSTALL_DATADIR}/echo-lm)
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/../plugins/example DESTINATION ${CMAKE_INSTALL_DATADIR}/echo-lm PATTERN build EXCLUDE)
