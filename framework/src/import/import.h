#pragma once

#include "framework/src/import/blueprint.h"
#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"

#include <filesystem>
#include <memory>
#include <string>

namespace echo {

// A model out of a checkpoint that transformers wrote.
struct ImportedModel {
  std::string class_name;  // "LlamaForCausalLM"
  Recipe recipe;           // ordinary; its task is `tokens`
  std::unique_ptr<Model> model;
};

// Reads config.json and the safetensors files of `folder`. `name` becomes the recipe's. Throws
// ConfigError for a field, a value or a tensor that Echo cannot honour, and names it.
ImportedModel import_model(const std::filesystem::path& folder, const std::string& name,
                           const Registry& registry);

// The recipe of a blueprint.
Recipe recipe_of(const Blueprint& blueprint, const std::string& name, const std::string& file,
                 const Registry& registry);

}  // namespace echo
