#include "trainers/recipe_changes.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using namespace testing_run;

TEST(RecipeChanges, OfARecipeWithItselfAreNone) {
  EXPECT_TRUE(recipe_changes(recipe(), recipe()).empty());
}

TEST(RecipeChanges, NameThePathAndBothValues) {
  const auto changes = recipe_changes(recipe(), recipe({"train.batch=32"}));
  ASSERT_FALSE(changes.empty());
  std::vector<std::string> texts;
  for (const RecipeChange& change : changes) texts.push_back(change_text(change));
  EXPECT_THAT(texts, testing::Contains("train.batch: 4 in the run, 32 now"));
}

TEST(RecipeChanges, ReachIntoListsAndSeeWhatIsMissing) {
  const auto changes = recipe_changes(recipe(), recipe({"model.blocks=[[mean]]"}));
  ASSERT_FALSE(changes.empty());
  for (const RecipeChange& change : changes) {
    EXPECT_EQ(change.path.rfind("model.blocks.1", 0), 0u) << change.path;
    EXPECT_EQ(change.to, "nothing");
  }
}

TEST(RecipeChanges, MayLengthenARunButNotChangeItsNumbers) {
  for (const char* path : {"train.steps", "train.log_every", "train.checkpoint.every",
                           "train.checkpoint.keep", "evaluate.every", "evaluate.tasks.a.kind"})
    EXPECT_TRUE(may_change({path, "1", "2"})) << path;
  for (const char* path : {"train.batch", "train.accumulation", "seed", "name", "model.width",
                           "train.optimizer.peak_rate", "task.length", "plugins.0"})
    EXPECT_FALSE(may_change({path, "1", "2"})) << path;
}

}  // namespace
}  // namespace echo
