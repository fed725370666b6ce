# Shared compile settings and small helpers for the project's own targets.

find_program(SHARDLENS_CCACHE ccache)
if(SHARDLENS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${SHARDLENS_CCACHE})
endif()

add_library(shardlens_settings INTERFACE)
target_compile_features(shardlens_settings INTERFACE cxx_std_20)
target_include_directories(shardlens_settings INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(shardlens_settings INTERFACE -Wall -Wextra -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(shardlens_settings INTERFACE -Wno-restrict) # warns of "literal" + std::string: GCC bug 105651
endif()
if(SHARDLENS_WERROR)
    target_compile_options(shardlens_settings INTERFACE -Werror)
endif()
if(SHARDLENS_SANITIZE)
    target_compile_options(shardlens_settings INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    target_link_options(shardlens_settings INTERFACE -fsanitize=address,undefined)
endif()
if(SHARDLENS_FUZZ)
    target_compile_options(shardlens_settings INTERFACE -fsanitize=fuzzer-no-link)
endif()

# shardlens_library(NAME SOURCES … DEPENDS … [PRIVATE_DEPENDS …]): one layer of the engine or the window.
function(shardlens_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
    add_library(shardlens_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(shardlens_${name} PUBLIC shardlens_settings ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE_DEPENDS})
endfunction()
