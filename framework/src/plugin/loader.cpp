#include "framework/src/plugin/loader.h"

#include "framework/src/files/program_prefix.h"
#include "framework/src/files/sha256.h"
#include "framework/src/plugin/load_watch.h"
#include "framework/src/plugin/note.h"

#include <echo/plugin.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include <spdlog/spdlog.h>

namespace echo {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& reason) {
  throw Error("cannot load the plugin " + file.string() + ": " + reason);
}

// "undefined symbol: _ZN4echo3fooEv" for people.
std::string reason_of(std::string reason, const std::filesystem::path& file) {
  const std::string path = file.string() + ": ";
  if (reason.starts_with(path)) reason.erase(0, path.size());
  const std::string mark = "undefined symbol: ";
  if (!reason.starts_with(mark)) return reason;
  std::string symbol = reason.substr(mark.size());
  symbol = symbol.substr(0, symbol.find_first_of(", ("));
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), &std::free);
  return "it needs '" + std::string(readable ? readable.get() : symbol.c_str()) +
         "', which neither this program nor the plugin's own libraries have; define it or link " +
         "the library that does (the linker names it with -Wl,-z,defs)";
}

// Where an exception of a static constructor gets through the dynamic loader (sanitizers let it),
// that loader still holds its locks: here too it must end the process. dlopen is declared to throw
// nothing, so compilers would leave the check for it out.
void* open_or_terminate(const char* file) noexcept {
  void* (*volatile open)(const char*, int) = ::dlopen;
  return open(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

void* open_library(const std::filesystem::path& file) {
  void* library = open_or_terminate(file.c_str());
  if (!library) {
    const char* reason = ::dlerror();
    refuse(file, reason ? reason_of(reason, file) : "it cannot be opened");
  }
  return library;
}

// A field of the descriptor beside what the note says.
void check_text(const std::filesystem::path& file, const char* what, const char* given,
                const std::string& noted) {
  if (!given) refuse(file, std::string("its descriptor has no ") + what + "; use ECHO_PLUGIN");
  if (noted != given) {
    refuse(file, std::string("its note and its descriptor disagree about the ") + what + " ('" +
                     noted + "' and '" + given + "'); build it again");
  }
}

// A descriptor may be longer than ours: new fields go at its end, and those are not read. It may
// not be shorter.
const EchoPlugin& find_descriptor(void* library, const std::filesystem::path& file,
                                  const Fingerprint& note) {
  using Entry = const EchoPlugin* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "echo_plugin_v1"));
  if (!entry)
    refuse(file, "it has a note but no function echo_plugin_v1; use the macro ECHO_PLUGIN");
  const EchoPlugin* plugin = entry();
  if (!plugin) refuse(file, "echo_plugin_v1 returned nothing; use the macro ECHO_PLUGIN");
  if (plugin->struct_size < sizeof(EchoPlugin)) {
    refuse(file, "its descriptor is " + std::to_string(plugin->struct_size) +
                     " bytes, this program needs " + std::to_string(sizeof(EchoPlugin)) +
                     "; build the plugin again against this program");
  }
  check_text(file, "fingerprint", plugin->fingerprint, note.text());
  check_text(file, "name", plugin->name, note.get("plugin"));
  check_text(file, "version", plugin->version, note.get("version"));
  if (!plugin->summary) refuse(file, "its descriptor has no summary; use ECHO_PLUGIN");
  if (!plugin->load) refuse(file, "its descriptor has no load function; use ECHO_PLUGIN");
  return *plugin;
}

// Whatever it does not end, and however it fails, nothing of it has been merged yet.
void fill(Registry& added, const EchoPlugin& plugin, const std::filesystem::path& file) {
  std::array<char, 1024> reason{};
  int code = 0;
  try {
    code = plugin.load(&added, reason.data(), reason.size() - 1);
  } catch (const std::exception& failure) {
    refuse(file, std::string("its load function threw: ") + failure.what() +
                     "; it must return a number instead (ECHO_PLUGIN sees to that)");
  } catch (...) {
    refuse(file,
           "its load function threw an exception that is no std::exception; it must return "
           "a number instead (ECHO_PLUGIN sees to that)");
  }
  reason.back() = '\0';  // in case it wrote to the very end
  if (code == 0) return;
  refuse(file, "its load function failed: " +
                   std::string(reason[0] ? reason.data() : "without a reason (code ") +
                   (reason[0] ? "" : std::to_string(code) + ")"));
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

void check_kinds(const Registry& added, const Fingerprint& note,
                 const std::filesystem::path& file) {
  const std::set<std::string> names = kind_names(added);
  const std::vector<std::string> declared_list = note.kinds();
  const std::set<std::string> declared(declared_list.begin(), declared_list.end());
  if (names != declared) {
    refuse(file, "its note declares " + list(declared) + ", but it registers " + list(names) +
                     "; name them all in ECHO_PLUGIN");
  }
}

template <class K>
void check_new(const K& present, const K& added, const std::filesystem::path& file) {
  for (const auto& [name, kind] : added.all()) {
    if (const auto* other = present.find(name)) {
      refuse(file, "its kind '" + name + "' exists already, from " + other->origin +
                       "; load one of them");
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

// All that can be refused before the file is opened as a library.
Fingerprint note_of(const std::filesystem::path& file, Origin origin) {
  try {
    Fingerprint note = read_note(file);
    check_fingerprint(note, Fingerprint(host_fingerprint()));
    check_note(note, origin);
    return note;
  } catch (const Error& mistake) {
    refuse(file, mistake.what());
  }
}

}  // namespace

std::filesystem::path Plugins::builtin_folder() {
  if (const char* folder = std::getenv("ECHO_PLUGIN_FOLDER")) return folder;
  return program_prefix() / "lib" / "echo-lm";
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
  if (code == std::errc::no_such_file_or_directory)
    refuse(named, "there is no such file; build the plugin first, or correct the path");
  if (code) refuse(named, code.message());
  for (const LoadedPlugin& other : loaded_) {
    if (other.path == file) return;
  }
  const Origin origin = builtin ? Origin::builtin : Origin::stranger;
  const Fingerprint note = note_of(file, origin);
  // Of the file as it is now: it may be built again while this process runs.
  const std::string hash = builtin ? "" : sha256_file(file);

  Registry added;
  std::optional<LoadWatch> watch(file);
  void* library = open_library(file);
  watch->enter(LoadWatch::Stage::load);
  const EchoPlugin& plugin = find_descriptor(library, file, note);
  fill(added, plugin, file);
  watch.reset();
  check_kinds(added, note, file);
  check_new(registry_.mixers, added.mixers, file);
  check_new(registry_.tasks, added.tasks, file);
  check_new(registry_.optimizers, added.optimizers, file);
  check_new(registry_.schedules, added.schedules, file);
  merge(registry_.mixers, added.mixers, file);
  merge(registry_.tasks, added.tasks, file);
  merge(registry_.optimizers, added.optimizers, file);
  merge(registry_.schedules, added.schedules, file);
  loaded_.push_back({file.string(), plugin.name, plugin.version, plugin.summary, note.text(),
                     note.kinds(), hash, builtin});
  if (!builtin) spdlog::info("plugin {} {} from {}", plugin.name, plugin.version, file.string());
}

}  // namespace echo
