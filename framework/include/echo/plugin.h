#pragma once

#include <echo/registry.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>

#include <torch/version.h>

// Grows whenever a public header changes in more than comments.
#define ECHO_ABI 4

extern "C" struct EchoPlugin {  // new fields go at the end; struct_size says which are present
  uint32_t struct_size;
  const char* fingerprint;  // the text of the note
  const char* name;         // prefix of every kind that it adds: "foo/bar"
  const char* version;
  const char* summary;
  int (*load)(void* registry, char* error,
              size_t error_size);  // 0, or the reason in error; never throws
};

#define ECHO_STRING_OF(x) #x
#define ECHO_STRING(x) ECHO_STRING_OF(x)

#if defined(__clang__)
#define ECHO_COMPILER "clang-" ECHO_STRING(__clang_major__) "." ECHO_STRING(__clang_minor__)
#else
#define ECHO_COMPILER "gcc-" ECHO_STRING(__GNUC__) "." ECHO_STRING(__GNUC_MINOR__)
#endif
#if defined(_LIBCPP_VERSION)
#define ECHO_STDLIB "libc++"
#else
#define ECHO_STDLIB "libstdc++"
#endif
#if defined(_GLIBCXX_DEBUG)
#define ECHO_DEBUG_LIBRARY "1"
#else
#define ECHO_DEBUG_LIBRARY "0"
#endif
#if !defined(ECHO_CUDA_VERSION)  // set by the build of a CUDA plugin: "13.0"
#define ECHO_CUDA_VERSION "none"
#endif

// What decides the binary interface: text of the note .note.echo, compared before a library is
// opened.
#define ECHO_FINGERPRINT(name, version, kinds)                                                  \
  "echo=" ECHO_STRING(ECHO_ABI) ";torch=" TORCH_VERSION ";cuda=" ECHO_CUDA_VERSION              \
                                ";cxx11abi=" ECHO_STRING(                                       \
                                    _GLIBCXX_USE_CXX11_ABI) ";stdlib=" ECHO_STDLIB              \
                                                            ";debug=" ECHO_DEBUG_LIBRARY        \
                                                            ";compiler=" ECHO_COMPILER          \
                                                            ";plugin=" name ";version=" version \
                                                            ";kinds=" kinds

// Makes a shared library a plugin. `name`, `version`, `summary` and `kinds` (comma-separated) are
// string literals; `load_function` is void(echo::Registry&) and may throw.
#define ECHO_PLUGIN(plugin_name, plugin_version, plugin_summary, plugin_kinds, load_function) \
  __asm__(                                                                                    \
      ".pushsection .note.echo,\"a\",%note\n.balign 4\n.long 5\n.long 2f-1f\n.long 1\n"       \
      ".asciz \"Echo\"\n.balign 4\n1:.asciz \"" ECHO_FINGERPRINT(                             \
          plugin_name, plugin_version, plugin_kinds) "\"\n2:.balign 4\n.popsection\n");       \
  static int echo_plugin_load(void* registry, char* error, size_t error_size) {               \
    try {                                                                                     \
      load_function(*static_cast<::echo::Registry*>(registry));                               \
      return 0;                                                                               \
    } catch (const std::exception& failure) {                                                 \
      std::snprintf(error, error_size, "%s", failure.what());                                 \
    } catch (...) {                                                                           \
      std::snprintf(error, error_size, "an exception that is no std::exception");             \
    }                                                                                         \
    return 1;                                                                                 \
  }                                                                                           \
  extern "C" __attribute__((visibility("default"))) const EchoPlugin* echo_plugin_v1(void) {  \
    static const EchoPlugin plugin = {                                                        \
        sizeof(EchoPlugin), ECHO_FINGERPRINT(plugin_name, plugin_version, plugin_kinds),      \
        plugin_name,        plugin_version,                                                   \
        plugin_summary,     &echo_plugin_load};                                               \
    return &plugin;                                                                           \
  }
