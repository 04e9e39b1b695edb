#include "framework/src/recipe/recipe.h"

#include "framework/src/recipe/blocks.h"
#include "framework/src/recipe/check.h"
#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/nested.h"
#include "framework/src/recipe/values.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace echo {

namespace fs = std::filesystem;

namespace {

const char* const kSections[] = {"model", "task", "train", "evaluate"};

// A section that must be there.
const Node& section(const Node& tree, const char* name) {
  const Node* node = tree.find(name);
  if (node && (!node->is_null() || node->blank)) return *node;
  for (const Node::Entry& other : tree.entries) {
    if (const Node::Entry* inside = other.value.entry(name)) {
      throw ConfigError(inside->where, std::string("the section '") + name +
                                           "' stands inside of '" + other.key +
                                           "'; indent it like '" + other.key + "'");
    }
  }
  throw ConfigError(tree.where, std::string("the section '") + name +
                                    "' is missing; a recipe has at least model, task and train");
}

// Names of templates and tasks appear in --set and in metrics.
void check_name(const Node::Entry& entry, const std::string& path) {
  const bool good =
      !entry.key.empty() && std::all_of(entry.key.begin(), entry.key.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '_' || c == '-';
      });
  if (!good) {
    throw ConfigError(entry.where, path + ": '" + entry.key +
                                       "' is no name; allowed: letters, digits, '_' and '-'");
  }
}

void check_run_name(const std::string& name, const Location& where) {
  const bool reserved = name.empty() || name[0] == '.';
  const bool bad = std::any_of(name.begin(), name.end(),
                               [](unsigned char c) { return c == '/' || c < 0x20 || c == 0x7F; });
  if (reserved || bad || name.size() > 100) {
    throw ConfigError(where, "name: '" + shortened(name) +
                                 "' cannot name a run's folder; allowed: 1 to 100 bytes without "
                                 "'/', not beginning with '.'");
  }
}

// Every shared library begins like this.
bool is_library(const std::string& path) {
  const std::string magic =
      "\x7F"
      "ELF";
  std::string begin(magic.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return begin == magic;
}

class RecipeReader {
 public:
  RecipeReader(const Node& tree, const Registry& registry)
      : tree_(tree), registry_(registry), nested_(registry.mixers, templates(tree)) {}

  Recipe read() {
    expect_map(tree_, "recipe");
    read_top();
    const Node& model = section(tree_, "model");
    const Node& task = section(tree_, "task");
    const Node& train = section(tree_, "train");
    read_train(train);
    read_task(task);
    read_model(model);
    read_evaluate();
    RecipeChecker checker(recipe_, registry_, places_);
    checker.finish();
    return std::move(recipe_);
  }

 private:
  void read_top() {
    recipe_.name = fs::path(tree_.where.file).stem().string();
    keep(read_fields(tree_, fields_of(recipe_),
                     {"", "", {std::begin(kSections), std::end(kSections)}}),
         "");
    check_run_name(recipe_.name, places_.count("name") ? places_.at("name") : tree_.where);
  }

  void read_train(const Node& node) {
    expect_map(node, "train");
    places_["train"] = node.where;
    TrainRecipe& train = recipe_.train;
    keep(read_fields(node, fields_of(train), {"train", "", {"optimizer", "schedule"}}), "train");
    train.optimizer = read_kind(registry_.optimizers, child(node, "optimizer"), "train.optimizer",
                                "optimizer", nested_, "adamw");
    train.schedule = read_kind(registry_.schedules, child(node, "schedule"), "train.schedule",
                               "schedule", nested_, "cosine");
  }

  void read_task(const Node& node) { recipe_.task = completed_task(node, "task"); }

  void read_model(const Node& node) {
    expect_map(node, "model");
    places_["model"] = node.where;
    ModelRecipe& model = recipe_.model;
    keep(read_fields(node, fields_of(model), {"model", "", {"mixers", "blocks"}}), "model");
    if (model.width == 0)
      throw ConfigError(node.where,
                        "model.width is missing; write the width of the model, as in "
                        "width: 64");
    if (const Node* mixers = node.find("mixers")) read_mixers(*mixers);
    const Node* blocks = node.find("blocks");
    if (!blocks || (blocks->is_null() && !blocks->blank)) {
      throw ConfigError(node.where,
                        "model.blocks is missing; write the blocks of the model, bottom to top, "
                        "as in blocks: [[NAME]]");
    }
    model.blocks = read_blocks(*blocks, model.mixers, registry_);
    complete_mixers();
  }

  void read_mixers(const Node& node) {
    if (node.is_null() && !node.blank) return;
    expect_map(node, "model.mixers");
    for (const Node::Entry& entry : node.entries) {
      check_name(entry, "model.mixers");
      if (entry.value.is_null() && !entry.value.blank) continue;
      recipe_.model.mixers[entry.key] =
          read_kind(registry_.mixers, entry.value, "model.mixers." + entry.key, "mixer", nested_);
    }
  }

  // Every branch's mixer for its own place. The template, which the resolved recipe shows, gets the
  // derived defaults too, unless they differ from place to place.
  void complete_mixers() {
    ModelRecipe& model = recipe_.model;
    Place place{.width = model.width,
                .layer = 0,
                .layers = static_cast<int64_t>(model.blocks.size()),
                .options = at::TensorOptions().dtype(at::kFloat).device(at::kMeta)};
    std::map<std::string, std::string> texts;  // of each template as completed so far
    std::map<std::string, KindChoice> common;
    for (size_t block = 0; block < model.blocks.size(); ++block) {
      place.layer = static_cast<int64_t>(block);
      for (BranchRecipe& branch : model.blocks[block]) {
        branch.mixer = complete(registry_.mixers, branch.mixer, place);
        const std::string text = write_yaml(write_kind(branch.mixer));
        const auto [seen, is_first] = texts.emplace(branch.mixer_name, text);
        if (is_first) {
          common[branch.mixer_name] = branch.mixer;
        } else if (seen->second != text) {
          common.erase(branch.mixer_name);
        }
      }
    }
    place.layer = 0;
    for (auto& [name, choice] : model.mixers) {
      // One that no block uses is checked as if the first block did.
      if (texts.count(name) == 0) common[name] = complete(registry_.mixers, choice, place);
      if (common.count(name) != 0) choice = common[name];
    }
  }

  void read_evaluate() {
    const Node* node = tree_.find("evaluate");
    if (!node || (node->is_null() && !node->blank)) return;
    expect_map(*node, "evaluate");
    keep(read_fields(*node, fields_of(recipe_.evaluate), {"evaluate", "", {"tasks"}}), "evaluate");
    const Node* tasks = node->find("tasks");
    if (!tasks || (tasks->is_null() && !tasks->blank)) return;
    expect_map(*tasks, "evaluate.tasks");
    for (const Node::Entry& entry : tasks->entries) {
      check_name(entry, "evaluate.tasks");
      if (entry.value.is_null() && !entry.value.blank) continue;
      if (entry.key == "task") {
        throw ConfigError(entry.where,
                          "evaluate.tasks: the name 'task' stands for the recipe's own task, which "
                          "is always scored; choose another name");
      }
      recipe_.evaluate.tasks[entry.key] =
          completed_task(entry.value, "evaluate.tasks." + entry.key);
    }
  }

  KindChoice completed_task(const Node& node, const std::string& path) {
    const TaskPlace place{.seed = static_cast<uint64_t>(recipe_.seed),
                          .batch = recipe_.train.batch};
    return complete(registry_.tasks, read_kind(registry_.tasks, node, path, "task", nested_),
                    place);
  }

  static const Node* templates(const Node& tree) {
    const Node* model = tree.find("model");
    return model ? model->find("mixers") : nullptr;
  }

  // A map that may be left out.
  static Node child(const Node& node, const std::string& name) {
    const Node* found = node.find(name);
    if (found && !(found->is_null() && !found->blank)) return *found;
    Node empty;
    empty.type = Node::Type::map;
    empty.where = node.where;
    return empty;
  }

  void keep(const Places& places, const std::string& path) {
    for (const auto& [name, where] : places) places_[join_path(path, name)] = where;
  }

  const Node& tree_;
  const Registry& registry_;
  NestedMixers nested_;
  Recipe recipe_;
  Places places_;  // of the fields of the recipe's own sections, dotted
};

}  // namespace

Recipe read_recipe(const Node& tree, const Registry& registry) {
  return RecipeReader(tree, registry).read();
}

Recipe read_recipe(const std::string& path, const std::vector<std::string>& overrides,
                   const Registry& registry) {
  return read_recipe(read_tree(path, overrides), registry);
}

Recipe read_recipe_text(const std::string& text, const std::string& name, const std::string& folder,
                        const std::vector<std::string>& overrides, const Registry& registry) {
  return read_recipe(read_tree_text(text, name, folder, overrides), registry);
}

std::vector<RecipePlugin> recipe_plugins(const std::string& path,
                                         const std::vector<std::string>& overrides) {
  return recipe_plugins(read_tree(path, overrides));
}

std::vector<RecipePlugin> recipe_plugins(const Node& tree) {
  Recipe recipe;
  const Places places =
      read_fields(tree, fields_of(recipe), {"", "", {std::begin(kSections), std::end(kSections)}});
  std::vector<RecipePlugin> plugins;
  for (size_t i = 0; i < recipe.plugins.size(); ++i) {
    std::error_code failure;
    const std::string name = "plugins." + std::to_string(i);
    plugins.push_back({recipe.plugins[i], places.at(name)});
    if (fs::is_regular_file(recipe.plugins[i], failure)) {
      if (is_library(recipe.plugins[i])) continue;
      throw ConfigError(places.at(name), name + ": '" + recipe.plugins[i] +
                                             "' is no shared library (.so); another recipe is "
                                             "taken over with 'extends: other.yaml'");
    }
    throw ConfigError(places.at(name), name + ": no such file: '" + recipe.plugins[i] +
                                           "'; build the plugin first, or correct the path "
                                           "(relative to the file that names it)");
  }
  return plugins;
}

}  // namespace echo
