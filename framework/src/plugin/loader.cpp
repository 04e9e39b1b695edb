#include "framework/src/plugin/loader.h"

#include "framework/src/plugin/note.h"

#include <echo/plugin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <set>
#include <sstream>
#include <unistd.h>

#include <spdlog/spdlog.h>

namespace echo {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& reason) {
  throw Error("cannot load the plugin " + file.string() + ": " + reason);
}

// A static constructor that throws calls std::terminate straight through any handler. While a
// library is opened, this names it and leaves as for any other wrong file.
char opening[4096];

[[noreturn]] void terminate_while_opening() {
  std::string reason = "it ended the program in a static constructor";
  if (std::exception_ptr current = std::current_exception()) {
    try {
      std::rethrow_exception(current);
    } catch (const std::exception& failure) {
      reason = std::string("a static constructor threw: ") + failure.what();
    } catch (...) {
      reason = "a static constructor threw";
    }
  }
  const std::string message =
      "echo: error: cannot load the plugin " + std::string(opening) + ": " + reason + "\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, message.data(), message.size());
  std::_Exit(2);
}

void* open_library(const std::filesystem::path& file) {
  std::strncpy(opening, file.c_str(), sizeof opening - 1);
  const std::terminate_handler before = std::set_terminate(terminate_while_opening);
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  std::set_terminate(before);
  if (!library) {
    const char* reason = ::dlerror();
    refuse(file, reason ? reason : "it cannot be opened");
  }
  return library;
}

const EchoPlugin& find_descriptor(void* library, const std::filesystem::path& file,
                                  const Fingerprint& note) {
  using Entry = const EchoPlugin* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "echo_plugin_v1"));
  if (!entry)
    refuse(file, "it has a note but no function echo_plugin_v1; use the macro ECHO_PLUGIN");
  const EchoPlugin* plugin = entry();
  if (!plugin) refuse(file, "echo_plugin_v1 returned nothing");
  if (plugin->struct_size < sizeof(EchoPlugin)) {
    refuse(file, "its descriptor is " + std::to_string(plugin->struct_size) +
                     " bytes, this program needs " + std::to_string(sizeof(EchoPlugin)) +
                     "; build the plugin again against this program");
  }
  if (note.text() != plugin->fingerprint)
    refuse(file, "its note and its descriptor disagree; build it again");
  return *plugin;
}

template <class K>
void collect(const K& kinds, std::set<std::string>& names) {
  for (const auto& [name, kind] : kinds.all()) names.insert(name);
}

std::set<std::string> kind_names(const Registry& registry) {
  std::set<std::string> names;
  collect(registry.mixers, names);
  collect(registry.tasks, names);
  collect(registry.optimizers, names);
  collect(registry.schedules, names);
  return names;
}

std::string list(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "nothing" : text;
}

void check_kinds(const Registry& added, const Fingerprint& note, const std::filesystem::path& file,
                 bool builtin) {
  const std::set<std::string> names = kind_names(added);
  const std::vector<std::string> declared_list = note.kinds();
  const std::set<std::string> declared(declared_list.begin(), declared_list.end());
  if (names != declared) {
    refuse(file, "its note declares " + list(declared) + ", but it registers " + list(names));
  }
  if (builtin) return;
  const std::string prefix = note.get("plugin") + "/";
  for (const std::string& name : names) {
    if (name.rfind(prefix, 0) != 0)
      refuse(file, "its kind '" + name + "' must begin with '" + prefix + "'");
  }
}

template <class K>
void check_new(const K& present, const K& added, const std::filesystem::path& file) {
  for (const auto& [name, kind] : added.all()) {
    if (const auto* other = present.find(name)) {
      refuse(file, "its kind '" + name + "' exists already, from " + other->origin);
    }
  }
}

template <class K>
void merge(K& present, const K& added, const std::filesystem::path& file) {
  for (const auto& [name, kind] : added.all()) {
    auto copy = kind;
    copy.origin = file.string();
    present.insert(std::move(copy));
  }
}

}  // namespace

std::filesystem::path Plugins::builtin_folder() {
  if (const char* folder = std::getenv("ECHO_PLUGIN_FOLDER")) return folder;
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "lib" /
         "echo-lm";
}

void Plugins::load_builtins(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error("there is no folder " + folder.string() +
                " with the program's own mixers; install or build it again");
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".so") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) open(file, true);
}

void Plugins::load(const std::filesystem::path& file) { open(file, false); }

void Plugins::load_environment() {
  const char* value = std::getenv("ECHO_PLUGINS");
  std::istringstream files(value ? value : "");
  for (std::string file; std::getline(files, file, ':');) {
    if (!file.empty()) load(file);
  }
}

void Plugins::open(const std::filesystem::path& named, bool builtin) {
  std::error_code code;
  const std::filesystem::path file = std::filesystem::canonical(named, code);
  if (code) refuse(named, code.message());
  for (const LoadedPlugin& other : loaded_) {
    if (other.path == file) return;
  }
  const Fingerprint note = read_note(file);
  check_fingerprint(note, Fingerprint(host_fingerprint()), file);
  const EchoPlugin& plugin = find_descriptor(open_library(file), file, note);

  Registry added;
  char reason[1024] = "";
  if (plugin.load(&added, reason, sizeof reason) != 0) refuse(file, reason);
  check_kinds(added, note, file, builtin);
  check_new(registry_.mixers, added.mixers, file);
  check_new(registry_.tasks, added.tasks, file);
  check_new(registry_.optimizers, added.optimizers, file);
  check_new(registry_.schedules, added.schedules, file);
  merge(registry_.mixers, added.mixers, file);
  merge(registry_.tasks, added.tasks, file);
  merge(registry_.optimizers, added.optimizers, file);
  merge(registry_.schedules, added.schedules, file);
  loaded_.push_back({file.string(), plugin.name, plugin.version, plugin.summary, note.text(),
                     note.kinds(), builtin});
  if (!builtin) spdlog::info("plugin {} {} from {}", plugin.name, plugin.version, file.string());
}

}  // namespace echo
