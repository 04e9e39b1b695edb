#pragma once

#include "framework/src/plugin/loader.h"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

namespace echo::bad_plugins {

namespace fs = std::filesystem;

inline fs::path plugin(const std::string& name) { return fs::path(PLUGIN_FOLDER) / (name + ".so"); }

inline std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Why a file cannot be loaded, without "cannot load the plugin FILE: "; empty where it can. What
// was refused must have left nothing behind.
inline std::string refusal(const fs::path& file) {
  Plugins plugins;
  try {
    plugins.load(file);
    return "";
  } catch (const Error& error) {
    EXPECT_TRUE(plugins.loaded().empty());
    EXPECT_TRUE(plugins.registry().mixers.all().empty());
    std::error_code code;
    const fs::path canonical = fs::canonical(file, code);
    const std::string begin = "cannot load the plugin " + (code ? file : canonical).string() + ": ";
    const std::string message = error.what();
    EXPECT_EQ(message.substr(0, begin.size()), begin);
    return message.substr(std::min(begin.size(), message.size()));
  }
}

}  // namespace echo::bad_plugins
