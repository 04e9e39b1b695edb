#pragma once

#include "framework/src/recipe/recipe.h"
#include "framework/src/recipe/values.h"

namespace echo {

// The last part of reading a recipe: makes each distinct product once (mixers on the meta device,
// so that nothing is allocated) and compares what they ask of each other. Fills in what only the
// products know: vocabulary, steps, positions. Throws ConfigError.
class RecipeChecker {
 public:
  // places: where the fields of the recipe's own sections were written, dotted.
  RecipeChecker(Recipe& recipe, const Registry& registry, const Places& places)
      : recipe_(recipe), registry_(registry), places_(places) {}

  void finish();

 private:
  struct CheckedTask {
    const KindChoice* choice = nullptr;
    TaskInfo info;
  };

  void check_batches();
  void make_tasks();
  void find_steps();
  void check_optimization();
  void check_vocabulary();
  void check_positions();
  void check_mixers();
  void check_traits(const KindChoice& mixer, const Place& place);
  Location place(const std::string& field) const;

  Recipe& recipe_;
  const Registry& registry_;
  const Places& places_;
  std::vector<CheckedTask> tasks_;  // the recipe's own first
};

}  // namespace echo
