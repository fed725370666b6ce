# `cpack -G DEB` or `cpack -G TGZ` in a build folder. Two packages: the command line (Apache-2.0), and the window (GPL-3.0-or-later: it links QCustomPlot).
set(CPACK_PACKAGE_NAME shardlens)
set(CPACK_PACKAGE_VENDOR "The Shardlens authors")
set(CPACK_PACKAGE_CONTACT "The Shardlens authors <shardlens@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGE_FILE_NAME "shardlens-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)

# What is installed without naming a component belongs to the window.
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL cli)
if(SHARDLENS_GUI)
    list(APPEND CPACK_COMPONENTS_ALL Unspecified)
endif()
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_CLI_PACKAGE_NAME shardlens)
set(CPACK_DEBIAN_UNSPECIFIED_PACKAGE_NAME shardlens-gui)
set(CPACK_DEBIAN_UNSPECIFIED_PACKAGE_DEPENDS "shardlens (= ${PROJECT_VERSION})")

install(FILES ${CMAKE_SOURCE_DIR}/packaging/copyright DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/shardlens COMPONENT cli)
if(SHARDLENS_GUI)
    install(FILES ${CMAKE_SOURCE_DIR}/packaging/copyright DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/shardlens-gui)
endif()

include(CPack)
