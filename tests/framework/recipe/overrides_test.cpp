#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::mistake;
using toy::read;
using toy::with;

TEST(RecipeOverrides, NameTheKeyOfAWrongValue) {
  EXPECT_EQ(mistake(kRecipe, {"train.steps=many"}),
            "--set train.steps: expected an integer (at least 1), found 'many'");
}

TEST(RecipeOverrides, RejectUnknownSection) {
  EXPECT_EQ(mistake(kRecipe, {"trian.steps=100"}),
            "--set trian.steps: trian: unknown key; did you mean 'train'? Known keys: evaluate, "
            "model, name, parallel, plugins, seed, task, train");
}

TEST(RecipeOverrides, RejectUnknownKey) {
  EXPECT_EQ(mistake(kRecipe, {"train.stps=100"}),
            "--set train.stps: unknown key; did you mean 'steps'? Known keys: accumulation, batch, "
            "checkpoint, clip, epochs, log_every, optimizer, precision, schedule, steps");
}

TEST(RecipeOverrides, RejectTextWithoutEqualsSign) {
  EXPECT_EQ(mistake(kRecipe, {"train.steps"}),
            "--set train.steps: expected KEY=VALUE, as in --set train.steps=100 or --set "
            "'task={kind: mqar}'");
}

TEST(RecipeOverrides, RejectMissingKey) {
  EXPECT_EQ(
      mistake(kRecipe, {"=3"}),
      "--set =3: expected KEY=VALUE, as in --set train.steps=100 or --set 'task={kind: mqar}'");
}

TEST(RecipeOverrides, RejectMissingNameInAKey) {
  EXPECT_EQ(mistake(kRecipe, {"train..steps=3"}),
            "--set train..steps: a name is missing beside a '.'");
}

TEST(RecipeOverrides, RejectMissingValue) {
  EXPECT_EQ(mistake(kRecipe, {"train.batch="}),
            "--set train.batch: expected an integer (at least 1), found nothing; write a value, or "
            "remove the key");
}

TEST(RecipeOverrides, RejectBrokenYaml) {
  EXPECT_EQ(mistake(kRecipe, {"model.blocks=[[memory]"}),
            "--set model.blocks:1:2: a key must be a word, not a list or a map");
}

TEST(RecipeOverrides, RejectNameBelowAValue) {
  EXPECT_EQ(mistake(kRecipe, {"train.steps.more=3"}),
            "--set train.steps.more: train.steps is '10', which has no field 'more'");
}

TEST(RecipeOverrides, RejectIndexBeyondAList) {
  EXPECT_EQ(mistake(kRecipe, {"model.blocks.1=[memory]"}),
            "--set model.blocks.1: model.blocks is a list of 1, and '1' is no index into it; "
            "indices count from 0");
}

TEST(RecipeOverrides, RejectNameInsteadOfAnIndex) {
  EXPECT_EQ(mistake(kRecipe, {"model.blocks.last=[memory]"}),
            "--set model.blocks.last: model.blocks is a list of 1, and 'last' is no index into it; "
            "indices count from 0");
}

TEST(RecipeOverrides, RejectUnknownTemplate) {
  EXPECT_EQ(
      mistake(kRecipe, {"model.blocks.0.0=memry"}),
      "--set model.blocks.0.0: model.mixers has no 'memry'; did you mean 'memory'? It has: memory");
}

TEST(RecipeOverrides, RejectAnotherBase) {
  EXPECT_EQ(mistake(kRecipe, {"extends=b.yaml"}),
            "--set extends: cannot be changed from the command line; write a recipe that extends "
            "the other one");
}

TEST(RecipeOverrides, RejectValueForASection) {
  EXPECT_EQ(mistake(kRecipe, {"model=3"}),
            "--set model: expected a map {key: value, ...}, found '3'");
}

TEST(RecipeOverrides, RejectWordForAKind) {
  EXPECT_EQ(mistake(kRecipe, {"train.optimizer=sgd"}),
            "--set train.optimizer: expected a map with a kind, as in {kind: sgd}, found 'sgd'");
}

TEST(RecipeOverrides, RejectFieldOfAMistypedMixer) {
  EXPECT_EQ(mistake(kRecipe, {"model.mixers.memry.rank=8"}),
            "--set model.mixers.memry.rank: model.mixers has no 'memry'; did you mean 'memory'? It "
            "has: memory");
}

TEST(RecipeOverrides, RejectFieldOfAMistypedTask) {
  EXPECT_EQ(mistake(std::string(kRecipe) + "evaluate: {tasks: {long: {kind: copy}}}\n",
                    {"evaluate.tasks.lnog.length=8"}),
            "--set evaluate.tasks.lnog.length: evaluate.tasks has no 'lnog'; did you mean 'long'? "
            "It has: long");
}

TEST(RecipeOverrides, RejectDeepKey) {
  EXPECT_EQ(mistake(kRecipe, {"a.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b."
                              "b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b=3"}),
            "--set "
            "a.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b."
            "b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b: more than 64 names deep");
}

TEST(RecipeOverrides, ChangeAValue) {
  EXPECT_EQ(read(kRecipe, {"train.steps=100"}).train.steps, 100);
}

TEST(RecipeOverrides, AddASection) {
  EXPECT_EQ(read(kRecipe, {"evaluate.every=7"}).evaluate.every, 7);
}

TEST(RecipeOverrides, ChangeAWholeList) {
  EXPECT_EQ(read(kRecipe, {"model.blocks=[[memory], [memory]]"}).model.blocks.size(), 2u);
}

TEST(RecipeOverrides, ReachIntoAList) {
  const Recipe recipe = read(kRecipe, {"model.blocks.0=[memory, memory]"});
  EXPECT_EQ(recipe.model.blocks[0].size(), 2u);
}

TEST(RecipeOverrides, MergeMaps) {
  const Recipe recipe = read(kRecipe, {"model.mixers.memory={rank: 5}"});
  const auto& options =
      static_cast<const OptionsOf<toy::RecallOptions>&>(*recipe.model.mixers.at("memory").options)
          .value;
  EXPECT_EQ(options.heads, 2);
  EXPECT_EQ(options.rank, 5);
}

TEST(RecipeOverrides, ReplaceAMapWhoseKindChanges) {
  EXPECT_EQ(read(kRecipe, {"model.mixers.memory.kind=plain"}).model.mixers.at("memory").kind,
            "plain");
}

TEST(RecipeOverrides, SetFieldsOfANewKindInAnyOrder) {
  const Recipe recipe =
      read(kRecipe, {"model.mixers.memory.depth_scale=3", "model.mixers.memory.kind=plain"});
  EXPECT_EQ(recipe.model.mixers.at("memory").kind, "plain");
}

TEST(RecipeOverrides, AddAMixerFieldByField) {
  const Recipe recipe =
      read(kRecipe, {"model.mixers.memry.rank=8", "model.mixers.memry.kind=recall"});
  EXPECT_EQ(recipe.model.mixers.at("memry").kind, "recall");
}

TEST(RecipeOverrides, AddAMixerAsAMap) {
  const Recipe recipe =
      read(kRecipe, {"model.mixers.more.rank=8", "model.mixers.more={kind: recall}"});
  EXPECT_EQ(recipe.model.mixers.at("more").kind, "recall");
}

TEST(RecipeOverrides, LastOneWins) {
  EXPECT_EQ(read(kRecipe, {"train.steps=1", "train.steps=2"}).train.steps, 2);
}

TEST(RecipeOverrides, DeleteWithNull) {
  EXPECT_EQ(read(with("steps: 10", "steps: 10, batch: 7"), {"train.batch=null"}).train.batch, 64);
}

TEST(RecipeOverrides, KeepEqualsSignsOfTheValue) {
  EXPECT_EQ(read(kRecipe, {"name=a=b"}).name, "a=b");
}

TEST(RecipeOverrides, TakePathsFromTheCurrentFolder) {
  const Recipe recipe = read(kRecipe, {"task.text=b.txt"});
  EXPECT_EQ(static_cast<const OptionsOf<toy::CopyOptions>&>(*recipe.task.options).value.text,
            (std::filesystem::current_path() / "b.txt").string());
}

}  // namespace

}  // namespace echo
