#include "trainers/provenance.h"

#include "framework/src/files/sha256.h"
#include "framework/src/plugin/note.h"
#include "framework/src/text/near.h"

#include <echo/error.h>

#include <algorithm>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

Json parsed(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? Json() : Json::parse(found->second, nullptr, false);
}

// Files hold anything: what is no text counts as not known.
std::string text_of(const Json& plugin, const char* key) {
  return plugin.is_object() && plugin.contains(key) && plugin[key].is_string()
             ? plugin[key].get<std::string>()
             : "unknown";
}

bool is_strangers(const Json& plugin) {
  return plugin.is_object() && plugin.contains("builtin") && plugin["builtin"] == false;
}

const Json* find_plugin(const Json& list, const std::string& name) {
  if (!list.is_array()) return nullptr;
  for (const Json& plugin : list) {
    if (is_strangers(plugin) && text_of(plugin, "name") == name) return &plugin;
  }
  return nullptr;
}

std::string named(const Json& plugin) {
  return text_of(plugin, "name") + " " + text_of(plugin, "version") + " from " +
         text_of(plugin, "path") + " (SHA-256 " + text_of(plugin, "sha256") + ")";
}

std::vector<std::string> kinds_of(const Json& plugin) {
  return Fingerprint(text_of(plugin, "fingerprint")).kinds();
}

bool provides(const Json& plugin, const std::string& kind) {
  const std::vector<std::string> kinds = kinds_of(plugin);
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

// "version 0.1, now 0.2; SHA-256 ab.., now cd.."
std::string differences(const Json& then, const Json& now) {
  std::vector<std::string> parts;
  constexpr std::pair<const char*, const char*> keys[] = {
      {"version", "version "}, {"path", ""}, {"sha256", "SHA-256 "}};
  for (const auto& [key, what] : keys) {
    const std::string before = text_of(then, key), after = text_of(now, key);
    if (before != after) parts.push_back(what + before + ", now " + after);
  }
  return join(parts, "; ");
}

// "test/mean keeps its state in version 1, as before"
std::string state_text(const Json& plugin, const Json& versions) {
  std::vector<std::string> parts;
  for (const auto& [kind, version] : versions.items()) {
    if (provides(plugin, kind))
      parts.push_back(kind + " keeps its state in version " + version.dump() + ", as before");
  }
  return parts.empty() ? "" : ". It may go on: " + join(parts);
}

void check_states(const Json& then, const Json& now, const Json& plugins) {
  for (const auto& [kind, version] : then.items()) {
    if (!now.contains(kind) || now[kind] == version) continue;
    std::string from = "the program that made it";
    if (plugins.is_array()) {
      for (const Json& plugin : plugins) {
        if (is_strangers(plugin) && provides(plugin, kind)) from = "the plugin " + named(plugin);
      }
    }
    throw ConfigError("the checkpoint was made while " + kind + " kept its state in version " +
                      version.dump() + ", now it is version " + now[kind].dump() +
                      ": what was learned may mean something else. Go on with " + from +
                      ", or train anew with another --run");
  }
}

}  // namespace

Json plugin_json(const LoadedPlugin& plugin) {
  return {{"name", plugin.name},
          {"version", plugin.version},
          {"builtin", plugin.builtin},
          {"path", plugin.path},
          {"sha256", plugin.sha256.empty() ? sha256_file(plugin.path) : plugin.sha256},
          {"fingerprint", plugin.fingerprint}};
}

std::vector<std::string> plugin_changes(const std::map<std::string, std::string>& then,
                                        const std::map<std::string, std::string>& now) {
  const Json plugins = parsed(then, "plugins");
  const Json plugins_now = parsed(now, "plugins");
  const Json versions = parsed(then, "kinds");
  const Json versions_now = parsed(now, "kinds");
  if (versions.is_object() && versions_now.is_object())
    check_states(versions, versions_now, plugins);
  std::vector<std::string> lines;
  if (!plugins.is_array()) return lines;
  for (const Json& plugin : plugins) {
    if (!is_strangers(plugin)) continue;
    const std::string name = text_of(plugin, "name");
    const Json* present = find_plugin(plugins_now, name);
    if (!present) continue;
    const std::string changes = differences(plugin, *present);
    if (changes.empty()) continue;
    lines.push_back("the plugin " + name + " is not the checkpoint's: " + changes +
                    state_text(*present, versions_now));
  }
  return lines;
}

std::string missing_plugins(const Json& environment, const std::vector<LoadedPlugin>& loaded) {
  if (!environment.is_object() || !environment.contains("plugins")) return "";
  std::string text;
  for (const Json& plugin : environment["plugins"]) {
    if (!is_strangers(plugin)) continue;
    const std::string name = text_of(plugin, "name");
    const bool present = std::any_of(loaded.begin(), loaded.end(), [&](const LoadedPlugin& other) {
      return !other.builtin && other.name == name;
    });
    if (present) continue;
    text += ". The run was made with the plugin " + named(plugin) + ", of which come " +
            join(kinds_of(plugin));
  }
  return text.empty() ? "" : text + "; give its file with --plugin FILE";
}

}  // namespace echo
