#include "trainers/recipe_plugins.h"

#include "framework/src/recipe/nested.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

std::string real_path(const std::filesystem::path& path) {
  std::error_code code;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, code);
  return code ? path.string() : real.string();
}

std::set<std::string> kinds_of(const Recipe& recipe) {
  std::set<std::string> kinds = {recipe.task.kind, recipe.train.optimizer.kind,
                                 recipe.train.schedule.kind};
  for (const auto& [name, task] : recipe.evaluate.tasks) kinds.insert(task.kind);
  for (const auto& [name, mixer] : recipe.model.mixers) {
    kinds.insert(mixer.kind);
    for (const MixerChoice& inner : nested_mixers(*mixer.options)) kinds.insert(inner.kind.name);
  }
  return kinds;
}

bool uses(const std::set<std::string>& kinds, const LoadedPlugin& plugin) {
  return std::any_of(plugin.kinds.begin(), plugin.kinds.end(),
                     [&](const std::string& kind) { return kinds.count(kind) > 0; });
}

// The plugin's name in a list of plugin_json(); empty: not there.
std::string name_in(const Json& list, const std::string& path) {
  if (!list.is_array()) return "";
  for (const Json& plugin : list) {
    if (plugin.is_object() && plugin.value("path", Json()) == path &&
        plugin.value("builtin", Json()) == false && plugin.value("name", Json()).is_string())
      return plugin["name"].get<std::string>();
  }
  return "";
}

std::string recorded_name(const Json& environment, const std::string& path) {
  if (!environment.is_object()) return "";
  std::string name = name_in(environment.value("plugins", Json()), path);
  const Json resumed = environment.value("resumed", Json());
  if (!resumed.is_array()) return name;
  for (const Json& entry : resumed) {
    if (name.empty() && entry.is_object()) name = name_in(entry.value("plugins", Json()), path);
  }
  return name;
}

}  // namespace

void name_plugins(Recipe& recipe, const Plugins& plugins) {
  std::set<std::string> named;
  for (const std::string& file : recipe.plugins) named.insert(real_path(file));
  const std::set<std::string> kinds = kinds_of(recipe);
  std::set<std::string> files;  // in an order that does not depend on the command line's
  for (const LoadedPlugin& plugin : plugins.loaded()) {
    if (!plugin.builtin && uses(kinds, plugin) && !named.count(plugin.path))
      files.insert(plugin.path);
  }
  recipe.plugins.insert(recipe.plugins.end(), files.begin(), files.end());
}

void take_loaded_plugins(Node& recipe, const Json& environment, const Plugins& plugins) {
  Node::Entry* list = recipe.entry("plugins");
  if (!list || !list->value.is_list()) return;
  for (Node& file : list->value.items) {
    const std::string name = recorded_name(environment, real_path(file.text));
    if (name.empty()) continue;
    for (const LoadedPlugin& plugin : plugins.loaded()) {
      if (!plugin.builtin && plugin.name == name) file.text = plugin.path;
    }
  }
}

}  // namespace echo
