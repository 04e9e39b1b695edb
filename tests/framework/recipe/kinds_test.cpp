#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::mistake;
using toy::read;
using toy::with;

TEST(RecipeKinds, RejectsUnknownMixerWithNearestName) {
  EXPECT_EQ(mistake(with("kind: recall", "kind: recal")),
            "a.yaml:4:20: model.mixers.memory.kind: unknown mixer 'recal'; did you mean 'recall'? "
            "Known mixers: plain, recall");
}

TEST(RecipeKinds, ListsTheMixersWhenNoneIsNear) {
  EXPECT_EQ(
      mistake(with("kind: recall", "kind: banana")),
      "a.yaml:4:20: model.mixers.memory.kind: unknown mixer 'banana'; known mixers: plain, recall");
}

TEST(RecipeKinds, RejectsUnknownTask) {
  EXPECT_EQ(mistake(with("kind: copy", "kind: copi")),
            "a.yaml:6:14: task.kind: unknown task 'copi'; did you mean 'copy'? Known tasks: copy");
}

TEST(RecipeKinds, RejectsUnknownOptimizer) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, optimizer: {kind: adam}")),
            "a.yaml:7:38: train.optimizer.kind: unknown optimizer 'adam'; did you mean 'adamw'? "
            "Known optimizers: adamw, sgd");
}

TEST(RecipeKinds, RejectsUnknownSchedule) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, schedule: {kind: cosin}")),
            "a.yaml:7:37: train.schedule.kind: unknown schedule 'cosin'; did you mean 'cosine'? "
            "Known schedules: cosine");
}

TEST(RecipeKinds, SaysHowToLoadThePluginOfAKind) {
  EXPECT_EQ(
      mistake(with("kind: recall", "kind: other/based")),
      "a.yaml:4:20: model.mixers.memory.kind: unknown mixer 'other/based'; known mixers: plain, "
      "recall; kinds of the plugin 'other' need its file under 'plugins:' or --plugin FILE");
}

TEST(RecipeKinds, ListsTheKindsOfAPluginThatIsLoaded) {
  Registry registry = toy::registry();
  MixerKind kind = *registry.mixers.find("recall");
  kind.name = "other/recall";
  registry.mixers.insert(kind);
  try {
    read_recipe_text(with("kind: recall", "kind: other/based"), "a.yaml", "/", {}, registry);
    FAIL();
  } catch (const ConfigError& mistake) {
    EXPECT_STREQ(
        mistake.what(),
        "a.yaml:4:20: model.mixers.memory.kind: unknown mixer 'other/based'; known mixers: "
        "other/recall, plain, recall; the mixers of the plugin 'other', which is loaded: "
        "other/recall");
  }
}

TEST(RecipeKinds, RejectsMissingKind) {
  EXPECT_EQ(mistake(with("{kind: recall, heads: 2}", "{heads: 2}")),
            "a.yaml:4:13: model.mixers.memory: the kind is missing; write {kind: NAME, ...}; known "
            "mixers: plain, recall");
}

TEST(RecipeKinds, RejectsNullKind) {
  EXPECT_EQ(mistake(with("kind: recall", "kind: null")),
            "a.yaml:4:13: model.mixers.memory: the kind is missing; write {kind: NAME, ...}; known "
            "mixers: plain, recall");
}

TEST(RecipeKinds, RejectsMistypedKind) {
  EXPECT_EQ(mistake(with("kind: recall", "knd: recall")),
            "a.yaml:4:14: model.mixers.memory.knd: unknown key; did you mean 'kind'? Known mixers: "
            "plain, recall");
}

TEST(RecipeKinds, RejectsWordForAKind) {
  EXPECT_EQ(mistake(with("{kind: recall, heads: 2}", "recall")),
            "a.yaml:4:13: model.mixers.memory: expected a map with a kind, as in {kind: recall}, "
            "found 'recall'");
}

TEST(RecipeKinds, RejectsListForAKind) {
  EXPECT_EQ(mistake(with("{kind: recall, heads: 2}", "[recall]")),
            "a.yaml:4:13: model.mixers.memory: expected a map with a kind, as in {kind: plain}, "
            "found a list");
}

TEST(RecipeKinds, RejectsNothingForAKind) {
  EXPECT_EQ(mistake(with("{kind: recall, heads: 2}", "")),
            "a.yaml:4:5: model.mixers.memory: expected a map with a kind, as in {kind: plain}, "
            "found nothing");
}

TEST(RecipeKinds, RejectsListAsTheNameOfAKind) {
  EXPECT_EQ(mistake(with("kind: recall", "kind: [recall]")),
            "a.yaml:4:20: model.mixers.memory.kind: expected the name of a mixer, found a list");
}

TEST(RecipeKinds, RejectsNameThatSetCannotReach) {
  EXPECT_EQ(
      mistake(with("    memory:", "    my memory:")),
      "a.yaml:4:5: model.mixers: 'my memory' is no name; allowed: letters, digits, '_' and '-'");
}

TEST(RecipeKinds, PutsAFieldErrorAtItsField) {
  EXPECT_EQ(mistake(with("heads: 2", "heads: 3")),
            "a.yaml:4:35: model.mixers.memory.heads: 3 does not divide the width (8)");
}

TEST(RecipeKinds, PutsTheErrorOfAnUnwrittenFieldAtTheMap) {
  EXPECT_EQ(mistake(with(", heads: 2", ""), {"model.width=9"}),
            "a.yaml:4:13: model.mixers.memory.heads: 2 does not divide the width (9)");
}

TEST(RecipeKinds, PutsAFieldErrorOfAnEntryAtTheEntry) {
  EXPECT_EQ(mistake(with("task: {kind: copy}",
                         "task: {kind: copy, segments: {train: [{length: 3}, {length: 30}]}}")),
            "a.yaml:6:61: task.segments.train.1.length: longer than the task's length");
}

TEST(RecipeKinds, PutsAFieldErrorOfTheConstructorAtItsField) {
  EXPECT_EQ(mistake(with("heads: 2", "note: unmakable")),
            "a.yaml:4:34: model.mixers.memory.note: this remark cannot be made");
}

TEST(RecipeKinds, ReportsWhatLibTorchRefuses) {
  EXPECT_EQ(mistake(with("heads: 2", "rank: 9000000000000000000")),
            "a.yaml:4:13: model.mixers.memory: 'recall' cannot be made: Storage size calculation "
            "overflowed with sizes=[9000000000000000000, 8]");
}

TEST(RecipeKinds, ChecksTheTemplateThatNoBlockUses) {
  EXPECT_EQ(mistake(with("  blocks:", "    unused: {kind: recall, heads: 3}\n  blocks:")),
            "a.yaml:5:35: model.mixers.unused.heads: 3 does not divide the width (8)");
}

TEST(RecipeKinds, FillsDerivedDefaultsIn) {
  const Recipe recipe = read(kRecipe);
  const auto& choice = recipe.model.blocks[0][0].mixer;
  EXPECT_EQ(static_cast<const OptionsOf<toy::RecallOptions>&>(*choice.options).value.rank, 4);
}

TEST(RecipeKinds, FillsDerivedDefaultsInForEveryPlace) {
  const Recipe recipe = read(with("[[memory]]", "[[p], [p]]"), {"model.mixers.p={kind: plain}"});
  const auto scale = [&](size_t block) {
    const auto& choice = recipe.model.blocks[block][0].mixer;
    return static_cast<const OptionsOf<toy::PlainOptions>&>(*choice.options).value.depth_scale;
  };
  EXPECT_EQ(scale(0), 1.0);
  EXPECT_EQ(scale(1), 0.5);
}

TEST(RecipeKinds, TakesAdamwAndCosineWhenNothingIsWritten) {
  const Recipe recipe = read(kRecipe);
  EXPECT_EQ(recipe.train.optimizer.kind, "adamw");
  EXPECT_EQ(recipe.train.schedule.kind, "cosine");
}

TEST(RecipeKinds, NamesThePlaceOfAMixer) {
  const Recipe recipe = read(kRecipe);
  EXPECT_EQ(recipe.model.mixers.at("memory").where.text(), "a.yaml:4:13");
}

TEST(RecipeKinds, MakesTheProductOfAChoice) {
  const Registry registry = toy::registry();
  const Recipe recipe = read(kRecipe);
  const auto mixer = make(registry.mixers, recipe.model.blocks[0][0].mixer, Place{.width = 8});
  EXPECT_EQ(mixer->parameters().size(), 1u);
}

}  // namespace

}  // namespace echo
