#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/recipe.h"
#include "framework/src/recipe/values.h"

namespace echo {

namespace {

using Choices = std::map<std::string, KindChoice>;

Node list_node() {
  Node node;
  node.type = Node::Type::list;
  return node;
}

Node write_choices(const Choices& choices) {
  Node node;
  node.type = Node::Type::map;
  for (const auto& [name, choice] : choices) node.add(name, write_kind(choice));
  return node;
}

Node write_branch(BranchRecipe branch) {
  Node node;
  node.add("mixer", quoted(branch.mixer_name));
  for (Node::Entry& entry : write_fields(fields_of(branch)).entries)
    node.add(entry.key, std::move(entry.value));
  return node;
}

Node write_blocks(const std::vector<std::vector<BranchRecipe>>& blocks) {
  Node node = list_node();
  for (const auto& block : blocks) {
    Node branches = list_node();
    for (const BranchRecipe& branch : block) branches.items.push_back(write_branch(branch));
    node.items.push_back(std::move(branches));
  }
  return node;
}

Node write_model(ModelRecipe model) {
  Node node;
  for (Node::Entry& entry : write_fields(fields_of(model)).entries) {
    node.add(entry.key, std::move(entry.value));
    if (entry.key != "vocabulary") continue;
    node.add("mixers", write_choices(model.mixers));
    node.add("blocks", write_blocks(model.blocks));
  }
  return node;
}

Node write_train(TrainRecipe train) {
  Node node;
  for (Node::Entry& entry : write_fields(fields_of(train)).entries) {
    node.add(entry.key, std::move(entry.value));
    if (entry.key != "precision") continue;
    node.add("optimizer", write_kind(train.optimizer));
    node.add("schedule", write_kind(train.schedule));
  }
  return node;
}

}  // namespace

std::string resolved_yaml(const Recipe& recipe) {
  Recipe copy = recipe;
  Node tree, parallel;
  for (Node::Entry& entry : write_fields(fields_of(copy)).entries) {
    if (entry.key == "parallel") {
      parallel = std::move(entry.value);
    } else {
      tree.add(entry.key, std::move(entry.value));
    }
  }
  tree.add("model", write_model(recipe.model));
  tree.add("task", write_kind(recipe.task));
  tree.add("train", write_train(recipe.train));
  Node evaluate = write_fields(fields_of(copy.evaluate));
  evaluate.add("tasks", write_choices(recipe.evaluate.tasks));
  tree.add("evaluate", std::move(evaluate));
  tree.add("parallel", std::move(parallel));
  return write_yaml(tree);
}

}  // namespace echo
