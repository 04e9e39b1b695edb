#pragma once

#include "framework/src/recipe/tree.h"

#include <cstddef>
#include <string>

namespace echo {

// Recipes are a few hundred lines at most; a larger file is a mistake.
constexpr size_t kLargestFile = size_t{1} << 20;
constexpr size_t kDeepest = 64;  // maps and lists inside each other

// Throws ConfigError for what cannot be a recipe: too large, binary, not UTF-8.
void check_text(const std::string& text, const std::string& name);

// Parses one YAML document. `name` stands for the file in messages; relative paths in the text are
// relative to `folder`. A text without a document gives a blank null. Throws ConfigError.
Node parse_yaml(const std::string& text, const std::string& name, const std::string& folder);

}  // namespace echo
