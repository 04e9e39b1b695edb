#include "tests/framework/recipe/toy.h"

namespace echo {

using toy::kRecipe;
using toy::mistake;
using toy::read;
using toy::with;

TEST(Recipe, ReadsTheSmallestRecipe) {
  const Recipe recipe = read(kRecipe);
  EXPECT_EQ(recipe.name, "a");
  EXPECT_EQ(recipe.model.width, 8);
}
}  // namespace echo
