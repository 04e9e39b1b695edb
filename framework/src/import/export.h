#pragma once

#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

namespace echo {

// Writes config.json and model.safetensors (float32) that transformers loads, into a folder that
// must not exist; it appears whole or not at all. Returns the class. Throws ConfigError where no
// class is a model like this, and says which layer and field does not fit the nearest one.
std::string export_model(const Recipe& recipe, const Model& model,
                         const std::filesystem::path& folder, const Registry& registry);

// A model as classes are compared with it: {width, vocabulary, norm, head, ..., blocks: [[{mixer:
// {kind, ...}, norm, scale}]]}, with all its branches, bottom to top, in layers of `branches`.
nlohmann::ordered_json model_json(const ModelRecipe& model, int64_t branches);

}  // namespace echo
