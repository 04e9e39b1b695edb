#include "trainers/recipe_changes.h"

#include <algorithm>
#include <map>
#include <set>

namespace echo {

namespace {

using Leaves = std::map<std::string, std::string>;

void collect(const Node& node, const std::string& path, Leaves& leaves) {
  if (node.is_map()) {
    for (const Node::Entry& entry : node.entries)
      collect(entry.value, path.empty() ? entry.key : path + "." + entry.key, leaves);
  } else if (node.is_list()) {
    for (size_t i = 0; i < node.items.size(); ++i)
      collect(node.items[i], path + "." + std::to_string(i), leaves);
  } else {
    leaves[path] = node.is_null() ? "null" : node.text;
  }
}

Leaves leaves_of(const Recipe& recipe) {
  Leaves leaves;
  collect(read_tree_text(resolved_yaml(recipe), "recipe", ".", {}), "", leaves);
  return leaves;
}

std::string value_of(const Leaves& leaves, const std::string& path) {
  const auto found = leaves.find(path);
  return found == leaves.end() ? "nothing" : found->second;
}

}  // namespace

std::vector<RecipeChange> recipe_changes(const Recipe& from, const Recipe& to) {
  const Leaves before = leaves_of(from);
  const Leaves after = leaves_of(to);
  std::set<std::string> paths;
  for (const auto& [path, value] : before) paths.insert(path);
  for (const auto& [path, value] : after) paths.insert(path);
  std::vector<RecipeChange> changes;
  for (const std::string& path : paths) {
    RecipeChange change{path, value_of(before, path), value_of(after, path)};
    if (change.from != change.to) changes.push_back(std::move(change));
  }
  return changes;
}

bool may_change(const RecipeChange& change) {
  for (const char* allowed :
       {"train.steps", "train.log_every", "train.checkpoint.", "evaluate.", "parallel."}) {
    if (change.path.rfind(allowed, 0) == 0) return true;
  }
  return false;
}

std::string change_text(const RecipeChange& change) {
  return change.path + ": " + change.from + " in the run, " + change.to + " now";
}

std::string changes_text(const std::vector<RecipeChange>& changes) {
  constexpr size_t kShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(changes.size(), kShown); ++i)
    text += (text.empty() ? "" : "; ") + change_text(changes[i]);
  if (changes.size() > kShown) text += "; and " + std::to_string(changes.size() - kShown) + " more";
  return text;
}

}  // namespace echo
