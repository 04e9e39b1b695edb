#include "trainers/distributed/mesh.h"

#include <echo/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

std::string refusal(const Recipe& recipe, int64_t ranks) {
  try {
    mesh_of(recipe, ranks);
  } catch (const ConfigError& mistake) {
    return mistake.what();
  }
  return "";
}

TEST(Mesh, SpreadsTheBatchOverAllRanksUnlessToldOtherwise) {
  Recipe recipe;
  EXPECT_EQ(mesh_of(recipe, 8).data, 8);
  recipe.parallel.sequence = 4;
  EXPECT_EQ(mesh_of(recipe, 8).data, 2);
}

TEST(Mesh, RefusesAProductThatIsNotTheNumberOfRanks) {
  Recipe recipe;
  recipe.parallel.data = 3;
  recipe.parallel.sequence = 2;
  EXPECT_THAT(
      refusal(recipe, 4),
      testing::HasSubstr("parallel.data 3 and parallel.sequence 2 make 6 ranks, and there are 4; "
                         "start as many with --ranks 6"));
  recipe.parallel.data.reset();
  EXPECT_THAT(refusal(recipe, 1), testing::HasSubstr("make 2 ranks, and there is 1; start"));
}

TEST(Mesh, RefusesFewerSamplesThanGroups) {
  Recipe recipe;
  recipe.train.batch = 3;
  EXPECT_THAT(refusal(recipe, 4), testing::HasSubstr("train.batch 3 has fewer samples"));
}

}  // namespace
}  // namespace echo
