#include "tests/framework/recipe/toy.h"

#include <filesystem>
#include <fstream>

#include <sys/stat.h>

namespace echo {

namespace {

namespace fs = std::filesystem;
using toy::kRecipe;

// Recipes in a folder of their own, which is the current one meanwhile.
class RecipeExtends : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    folder_ = fs::temp_directory_path() / ("echo_extends_" + std::to_string(::getpid()));
    fs::create_directories(folder_ / "sub");
    fs::current_path(folder_);
    write("base.yaml", kRecipe);
  }
  void TearDown() override {
    fs::current_path(before_);
    fs::remove_all(folder_);
  }

  static void write(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

  static Recipe read(const std::string& text) {
    write("a.yaml", text);
    return read_recipe("a.yaml", {}, toy::registry());
  }

  static std::string mistake_in(const std::string& file) {
    try {
      read_recipe(file, {}, toy::registry());
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  static std::string mistake(const std::string& text) {
    write("a.yaml", text);
    return mistake_in("a.yaml");
  }

  static const toy::RecallOptions& memory(const Recipe& recipe) {
    const auto& options = *recipe.model.mixers.at("memory").options;
    return static_cast<const OptionsOf<toy::RecallOptions>&>(options).value;
  }

  fs::path before_;
  fs::path folder_;
};

TEST_F(RecipeExtends, TakesOverTheBase) {
  const Recipe recipe = read("extends: base.yaml\n");
  EXPECT_EQ(recipe.train.steps, 10);
  EXPECT_EQ(recipe.name, "a");
}

TEST_F(RecipeExtends, MergesMaps) {
  const Recipe recipe = read("extends: base.yaml\nmodel: {mixers: {memory: {rank: 5}}}\n");
  EXPECT_EQ(memory(recipe).heads, 2);
  EXPECT_EQ(memory(recipe).rank, 5);
}

TEST_F(RecipeExtends, ReplacesLists) {
  const Recipe recipe = read("extends: base.yaml\nmodel: {blocks: [[memory], [memory]]}\n");
  EXPECT_EQ(recipe.model.blocks.size(), 2u);
}

TEST_F(RecipeExtends, ReplacesAMapWhoseKindChanges) {
  const Recipe recipe = read("extends: base.yaml\nmodel: {mixers: {memory: {kind: plain}}}\n");
  EXPECT_EQ(recipe.model.mixers.at("memory").kind, "plain");
}

TEST_F(RecipeExtends, MergesAMapWhoseKindStays) {
  const Recipe recipe =
      read("extends: base.yaml\nmodel: {mixers: {memory: {kind: recall, rank: 5}}}\n");
  EXPECT_EQ(memory(recipe).heads, 2);
}

TEST_F(RecipeExtends, DeletesWithNull) {
  write("base.yaml", std::string(kRecipe) + "evaluate: {every: 3, tasks: {x: {kind: copy}}}\n");
  const Recipe recipe = read("extends: base.yaml\nevaluate: {tasks: {x: null}}\n");
  EXPECT_TRUE(recipe.evaluate.tasks.empty());
  EXPECT_EQ(recipe.evaluate.every, 3);
}

TEST_F(RecipeExtends, GivesADeletedFieldItsDefault) {
  write("base.yaml", toy::with("heads: 2", "heads: 4"));
  const Recipe recipe = read("extends: base.yaml\nmodel: {mixers: {memory: {heads: null}}}\n");
  EXPECT_EQ(memory(recipe).heads, 2);
}

TEST_F(RecipeExtends, FollowsAChain) {
  write("sub/middle.yaml", "extends: ../base.yaml\nseed: 5\ntrain: {batch: 3}\n");
  const Recipe recipe = read("extends: sub/middle.yaml\nseed: 6\n");
  EXPECT_EQ(recipe.seed, 6);
  EXPECT_EQ(recipe.train.batch, 3);
  EXPECT_EQ(recipe.train.steps, 10);
}

TEST_F(RecipeExtends, TakesPathsFromTheFileThatWroteThem) {
  write("sub/middle.yaml", "extends: ../base.yaml\ntask: {text: here.txt}\n");
  const Recipe recipe = read("extends: sub/middle.yaml\n");
  const auto& options = static_cast<const OptionsOf<toy::CopyOptions>&>(*recipe.task.options).value;
  EXPECT_EQ(options.text, (fs::current_path() / "sub/here.txt").string());
}

TEST_F(RecipeExtends, NamesTheFileThatWroteAMistake) {
  write("sub/middle.yaml", "extends: ../base.yaml\nseed: x\n");
  EXPECT_EQ(mistake("extends: sub/middle.yaml\n"),
            "sub/middle.yaml:2:7: seed: expected an integer (at least 0), found 'x'");
}

TEST_F(RecipeExtends, RejectsACircleWithItsChain) {
  write("b.yaml", "extends: sub/c.yaml\n");
  write("sub/c.yaml", "# back again\nextends: ../a.yaml\n");
  EXPECT_EQ(mistake("extends: b.yaml\n"),
            "sub/c.yaml:2:10: extends: a circle: a.yaml -> b.yaml -> sub/c.yaml -> a.yaml");
}

TEST_F(RecipeExtends, RejectsItself) {
  EXPECT_EQ(mistake("extends: a.yaml\n"), "a.yaml:1:10: extends: a circle: a.yaml -> a.yaml");
}

TEST_F(RecipeExtends, RejectsMissingBaseWithNearestFile) {
  EXPECT_EQ(mistake("extends: bse.yaml\n"),
            "a.yaml:1:10: extends: 'bse.yaml': no such file; did you mean 'base.yaml'?");
}

TEST_F(RecipeExtends, RejectsMissingFolderOfTheBase) {
  EXPECT_EQ(
      mistake("extends: nowhere/base.yaml\n"),
      "a.yaml:1:10: extends: 'nowhere/base.yaml': no such file: the folder 'nowhere' does not "
      "exist");
}

TEST_F(RecipeExtends, RejectsFolderAsBase) {
  EXPECT_EQ(mistake("extends: sub\n"),
            "a.yaml:1:10: extends: 'sub': is a folder; name a recipe's file in it");
}

TEST_F(RecipeExtends, RejectsListOfBases) {
  EXPECT_EQ(mistake("extends: [base.yaml]\n"),
            "a.yaml:1:10: extends: expected one file's name, found a list");
}

TEST_F(RecipeExtends, RejectsBaseWithoutName) {
  EXPECT_EQ(mistake("extends:\n"), "a.yaml:1:1: extends: expected one file's name, found nothing");
}

TEST_F(RecipeExtends, RejectsEmptyBase) {
  write("empty.yaml", "");
  EXPECT_EQ(mistake("extends: empty.yaml\n"),
            "empty.yaml: is empty; a recipe has at least model, task and train");
}

TEST_F(RecipeExtends, RejectsMissingRecipeWithNearestFile) {
  EXPECT_EQ(mistake_in("bsae.yaml"), "bsae.yaml: no such file; did you mean 'base.yaml'?");
}

TEST_F(RecipeExtends, RejectsRecipeInAMissingFolder) {
  EXPECT_EQ(mistake_in("no/base.yaml"),
            "no/base.yaml: no such file: the folder 'no' does not exist");
}

TEST_F(RecipeExtends, RejectsFolderAsRecipe) {
  EXPECT_EQ(mistake_in("sub"), "sub: is a folder; name a recipe's file in it");
}

TEST_F(RecipeExtends, RejectsEndlessFile) {
  EXPECT_EQ(mistake_in("/dev/zero"), "/dev/zero: is no regular file; write the recipe to a file");
}

TEST_F(RecipeExtends, RejectsPipe) {
  ASSERT_EQ(::mkfifo("pipe", 0600), 0);
  EXPECT_EQ(mistake_in("pipe"), "pipe: is a pipe; write the recipe to a file");
}

TEST_F(RecipeExtends, RejectsPipeAsBase) {
  ASSERT_EQ(::mkfifo("pipe", 0600), 0);
  EXPECT_EQ(mistake("extends: pipe\n"),
            "a.yaml:1:10: extends: 'pipe': is a pipe; write the recipe to a file");
}

TEST_F(RecipeExtends, RejectsEmptyName) {
  EXPECT_EQ(mistake_in(""), "the name of the recipe's file is empty; name a file");
}

TEST_F(RecipeExtends, NamesTheRecipeOfAFolder) {
  write("sub/recipe.yaml", kRecipe);
  EXPECT_EQ(mistake_in("sub"), "sub: is a folder; did you mean 'sub/recipe.yaml'?");
}

TEST_F(RecipeExtends, ListsThePluginsOfTheWholeChain) {
  write("sub/x.so",
        "\x7F"
        "ELF");
  write("sub/middle.yaml", "extends: ../base.yaml\nplugins: [x.so]\nmodel: {unknown: 1}\n");
  write("a.yaml", "extends: sub/middle.yaml\n");
  const auto plugins = recipe_plugins("a.yaml", {});
  ASSERT_EQ(plugins.size(), 1);
  EXPECT_EQ(plugins[0].path, (fs::current_path() / "sub/x.so").string());
  EXPECT_EQ(plugins[0].where.text(), "sub/middle.yaml:2:11");
}

TEST_F(RecipeExtends, RejectsPluginThatIsNoLibrary) {
  write("a.yaml", "extends: base.yaml\nplugins: [base.yaml]\n");
  try {
    recipe_plugins("a.yaml", {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()),
              "a.yaml:2:11: plugins.0: '" + (fs::current_path() / "base.yaml").string() +
                  "' is no shared library (.so); another recipe is taken over with 'extends: "
                  "other.yaml'");
  }
}

TEST_F(RecipeExtends, RejectsMissingPlugin) {
  write("a.yaml", "extends: base.yaml\nplugins: [x.so]\n");
  try {
    recipe_plugins("a.yaml", {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()),
              "a.yaml:2:11: plugins.0: no such file: '" + (fs::current_path() / "x.so").string() +
                  "'; build the plugin first, or correct the path (relative to the file that names "
                  "it)");
  }
}

}  // namespace

}  // namespace echo
