#pragma once

#include "framework/src/plugin/loader.h"

#include <filesystem>

namespace echo {

// The program's own kinds, as the program loads them. The test needs
// `echo_test_needs_builtins(name)`.
inline const Registry& builtin_registry() {
  static Plugins* const plugins = [] {
    auto* const loaded = new Plugins;  // libraries are never closed
    loaded->load_builtins(std::filesystem::path(ECHO_PROGRAM).parent_path().parent_path() / "lib" /
                          "echo-lm");
    return loaded;
  }();
  return plugins->registry();
}

}  // namespace echo
