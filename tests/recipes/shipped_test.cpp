#include "framework/src/recipe/recipe.h"
#include "tests/framework/recipe/mutations.h"
#include "tests/support/builtins.h"

#include <echo/error.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace echo {

namespace {

namespace fs = std::filesystem;

// Every recipe of the project; benches are not recipes.
std::vector<fs::path> shipped() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(ECHO_SOURCE_DIR "/recipes")) {
    const fs::path& path = entry.path();
    if (path.extension() == ".yaml" && path.parent_path().filename() != "bench")
      files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string content(const fs::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(ShippedRecipes, AreThere) { EXPECT_FALSE(shipped().empty()); }

TEST(ShippedRecipes, AreReadWithoutMistake) {
  for (const fs::path& path : shipped())
    EXPECT_NO_THROW(read_recipe(path.string(), {}, builtin_registry())) << path;
}

TEST(ShippedRecipes, ReadBackToThemselvesInFull) {
  for (const fs::path& path : shipped()) {
    const std::string once = resolved_yaml(read_recipe(path.string(), {}, builtin_registry()));
    const Recipe again = read_recipe_text(once, "full.yaml", "/", {}, builtin_registry());
    EXPECT_EQ(resolved_yaml(again), once) << path;
  }
}

TEST(ShippedRecipes, AreReadOrRefusedWithAMessageWhenMutated) {
  toy::Mutator mutator(3);
  for (const fs::path& path : shipped()) {
    const std::string text = content(path);
    for (int i = 0; i < 1000; ++i) {
      const std::string mutation = mutator.mutate(text);
      try {
        read_recipe_text(mutation, "a.yaml", path.parent_path().string(), {}, builtin_registry());
      } catch (const ConfigError& error) {
        EXPECT_GT(std::string(error.what()).size(), 10u);
      } catch (const std::exception& other) {
        ADD_FAILURE() << other.what() << "\n" << mutation;
      }
    }
  }
}

}  // namespace

}  // namespace echo
