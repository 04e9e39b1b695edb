#pragma once

#include "framework/src/recipe/recipe.h"

#include <string>
#include <vector>

namespace echo {

struct RecipeChange {
  std::string path;      // "train.steps"
  std::string from, to;  // as YAML on one line; "nothing" where it is absent
};

// What differs between two resolved recipes.
std::vector<RecipeChange> recipe_changes(const Recipe& from, const Recipe& to);

// May this change when a run is resumed? What decides how far it goes and what is written beside
// it may, what decides the numbers may not.
bool may_change(const RecipeChange& change);

// "train.batch: 64 in the run, 32 now"
std::string change_text(const RecipeChange& change);
std::string changes_text(const std::vector<RecipeChange>& changes);  // separated by "; "

}  // namespace echo
