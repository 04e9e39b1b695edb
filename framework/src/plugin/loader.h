#pragma once

#include <echo/registry.h>

#include <filesystem>
#include <string>
#include <vector>

namespace echo {

struct LoadedPlugin {
  std::string path;
  std::string name;
  std::string version;
  std::string summary;
  std::string fingerprint;
  std::vector<std::string> kinds;
  std::string sha256;  // of a stranger's file, when it was opened
  bool builtin = false;
};

// Owns the registry of a program and the list of the libraries that filled it. Libraries are never
// closed: LibTorch's threads and registries may still point into them. Used by one thread.
class Plugins {
 public:
  // Loads every library of the program's own folder; their kinds have no prefix. Throws Error for a
  // missing folder.
  void load_builtins(const std::filesystem::path& folder = builtin_folder());

  // Loads one file of a stranger's: checks it before opening it, lets it fill a scratch registry,
  // and merges all or nothing. The same file again is no error. Throws Error that names the file,
  // the reason and what to do.
  void load(const std::filesystem::path& file);

  // The files of the environment variable ECHO_PLUGINS, separated by colons.
  void load_environment();

  Registry& registry() { return registry_; }
  const Registry& registry() const { return registry_; }
  const std::vector<LoadedPlugin>& loaded() const { return loaded_; }

  // <folder of this program>/../lib/echo-lm, or what ECHO_PLUGIN_FOLDER says.
  static std::filesystem::path builtin_folder();

 private:
  void open(const std::filesystem::path& file, bool builtin);

  Registry registry_;
  std::vector<LoadedPlugin> loaded_;
};

}  // namespace echo
