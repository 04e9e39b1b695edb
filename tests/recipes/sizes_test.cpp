// What recipes/mqar says of itself: mixers of equal size, and of equal state.
#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"
#include "tests/support/builtins.h"

#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

namespace echo {
namespace {

namespace fs = std::filesystem;

constexpr double kEqual = 0.05;

struct Sizes {
  std::string file;
  int64_t parameters, state_bytes;  // of the mixer under test, in the last block
};

std::vector<Sizes> sizes_in(const char* folder) {
  std::vector<Sizes> found;
  for (const auto& entry : fs::directory_iterator(fs::path(ECHO_SOURCE_DIR) / "recipes" / folder)) {
    if (entry.path().extension() != ".yaml") continue;
    const Recipe recipe = read_recipe(entry.path().string(), {}, builtin_registry());
    const Model model(recipe.model, builtin_registry(), at::TensorOptions().device(at::kMeta),
                      at::kFloat);
    Sizes sizes{entry.path().stem().string(), 0,
                model.initial_state(1, 64).branches.back().bytes()};
    for (const Parameter& parameter : model.branches().back()->parameters())
      sizes.parameters += parameter.numel();
    found.push_back(sizes);
  }
  return found;
}

int64_t parameters_of(const std::vector<Sizes>& all, const std::string& file) {
  for (const Sizes& sizes : all) {
    if (sizes.file == file) return sizes.parameters;
  }
  return 0;
}

TEST(MqarRecipes, HaveMixersOfEqualSize) {
  const std::vector<Sizes> all = sizes_in("mqar");
  const auto expected = static_cast<double>(parameters_of(all, "attention"));
  ASSERT_GT(expected, 0);
  for (const Sizes& sizes : all)
    EXPECT_NEAR(static_cast<double>(sizes.parameters), expected, kEqual * expected) << sizes.file;
}

TEST(MqarRecipes, HaveStatesOfEqualSizeInTheirFolder) {
  constexpr double kBytes = 1 << 14;
  const std::vector<Sizes> all = sizes_in("mqar/equal_state");
  ASSERT_EQ(all.size(), sizes_in("mqar").size());
  for (const Sizes& sizes : all)
    EXPECT_NEAR(static_cast<double>(sizes.state_bytes), kBytes, kEqual * kBytes) << sizes.file;
}

}  // namespace
}  // namespace echo
