#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace echo::cli {

// What `plugin new` writes: a folder with a plugin of one kind, made from the templates that are
// installed beside the program (share/echo-lm/templates).
struct Scaffold {
  std::string name;  // of the plugin, and of its sources
  std::string sort;  // "mixer", "task", "optimizer" or "schedule": a folder of templates
  std::filesystem::path folder;
};

// Writes the folder, whole or not at all; its files, sorted. Throws ConfigError for a name that
// cannot be one of a namespace, a target of CMake and a prefix of kinds at once, and for a folder
// that is there.
std::vector<std::string> write_scaffold(const Scaffold& scaffold);

// The commands that build it, check it and train with it, to be copied into a shell.
std::vector<std::string> next_commands(const Scaffold& scaffold);

}  // namespace echo::cli
