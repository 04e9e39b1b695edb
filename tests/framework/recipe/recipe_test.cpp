#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::mistake;
using toy::read;
using toy::with;

TEST(Recipe, ReadsTheSmallestRecipe) {
  const Recipe recipe = read(kRecipe);
  EXPECT_EQ(recipe.name, "a");
  EXPECT_EQ(recipe.seed, 0);
  EXPECT_EQ(recipe.model.width, 8);
  EXPECT_EQ(recipe.task.kind, "copy");
  EXPECT_EQ(recipe.train.steps, 10);
}

TEST(Recipe, ReadsEveryOwnField) {
  const Recipe recipe = read(
      "name: n\nseed: 3\nplugins: [x.so]\n"
      "model: {width: 4, vocabulary: 20, mixers: {m: {kind: recall}}, blocks: [[m]],\n"
      "  norm: {kind: layer_norm, eps: 0.5}, head: {tied: false},\n"
      "  positions: {kind: learned, length: 9}, dropout: 0.1, embedding_scale: 2, logit_scale: 3}\n"
      "task: {kind: copy}\n"
      "train: {steps: 7, batch: 6, accumulation: 3, clip: 2, log_every: 5,\n"
      "  checkpoint: {every: 4, keep: 3}, optimizer: {kind: sgd}, schedule: {kind: cosine}}\n"
      "evaluate: {every: 11, batch: 5, tasks: {longer: {kind: copy, length: 9}}}\n");
  EXPECT_EQ(recipe.name, "n");
  EXPECT_EQ(recipe.seed, 3);
  EXPECT_EQ(recipe.plugins, std::vector<std::string>{"/recipes/x.so"});
  EXPECT_EQ(recipe.model.width, 4);
  EXPECT_EQ(recipe.model.vocabulary, 20);
  EXPECT_EQ(recipe.model.norm.kind, NormKind::layer_norm);
  EXPECT_EQ(recipe.model.norm.eps, 0.5);
  EXPECT_FALSE(recipe.model.head.tied);
  EXPECT_EQ(recipe.model.positions.kind, PositionsKind::learned);
  EXPECT_EQ(recipe.model.positions.length, 9);
  EXPECT_EQ(recipe.model.dropout, 0.1);
  EXPECT_EQ(recipe.model.embedding_scale, 2);
  EXPECT_EQ(recipe.model.logit_scale, 3);
  EXPECT_EQ(recipe.train.steps, 7);
  EXPECT_EQ(recipe.train.batch, 6);
  EXPECT_EQ(recipe.train.accumulation, 3);
  EXPECT_EQ(recipe.train.clip, 2.0);
  EXPECT_EQ(recipe.train.log_every, 5);
  EXPECT_EQ(recipe.train.checkpoint.every, 4);
  EXPECT_EQ(recipe.train.checkpoint.keep, 3);
  EXPECT_EQ(recipe.train.optimizer.kind, "sgd");
  EXPECT_EQ(recipe.evaluate.every, 11);
  EXPECT_EQ(recipe.evaluate.batch, 5);
  EXPECT_EQ(recipe.evaluate.tasks.at("longer").kind, "copy");
}

TEST(Recipe, TakesTheVocabularyOfTheTask) { EXPECT_EQ(read(kRecipe).model.vocabulary, 16); }

TEST(Recipe, TakesTheMicroBatchForEvaluation) {
  EXPECT_EQ(read(with("steps: 10", "steps: 10, batch: 12, accumulation: 3")).evaluate.batch, 4);
}

TEST(Recipe, TurnsEpochsIntoSteps) {
  const Recipe recipe = read(with(
      "task: {kind: copy}\ntrain: {steps: 10}",
      "task: {kind: copy, segments: {train: [{samples: 100}]}}\ntrain: {epochs: 2.5, batch: 8}"));
  EXPECT_EQ(recipe.train.steps, 32);
  EXPECT_EQ(recipe.train.epochs, std::nullopt);
}

TEST(Recipe, MakesPositionsForTheLongestSample) {
  const Recipe recipe = read(with("width: 8", "width: 8\n  positions: {kind: learned}"),
                             {"evaluate.tasks.longer={kind: copy, length: 9}"});
  EXPECT_EQ(recipe.model.positions.length, 9);
}

TEST(Recipe, AllowsTemplateThatNoBlockUses) {
  const Recipe recipe = read(kRecipe, {"model.mixers.other={kind: plain}"});
  EXPECT_EQ(recipe.model.mixers.count("other"), 1u);
}

TEST(Recipe, KeepsUnsetTasksOut) {
  EXPECT_TRUE(read(kRecipe, {"evaluate.tasks={x: null}"}).evaluate.tasks.empty());
}

TEST(Recipe, ReadsFortyEightDifferentBlocks) {
  std::string mixers, blocks;
  for (int i = 0; i < 48; ++i) {
    const std::string name = "m" + std::to_string(i);
    mixers += "    " + name + ": {kind: recall, rank: " + std::to_string(i + 1) + "}\n";
    blocks += "    - [" + name + "]\n";
  }
  const Recipe recipe = read("model:\n  width: 8\n  mixers:\n" + mixers + "  blocks:\n" + blocks +
                             "task: {kind: copy}\ntrain: {steps: 1}\n");
  ASSERT_EQ(recipe.model.blocks.size(), 48u);
  const auto& last = *recipe.model.blocks[47][0].mixer.options;
  EXPECT_EQ(static_cast<const OptionsOf<toy::RecallOptions>&>(last).value.rank, 48);
}

TEST(Recipe, RejectsMissingModel) {
  EXPECT_EQ(
      mistake("task: {kind: copy}\ntrain: {steps: 10}\n"),
      "a.yaml:1:1: the section 'model' is missing; a recipe has at least model, task and train");
}

TEST(Recipe, RejectsMissingTask) {
  EXPECT_EQ(
      mistake(with("task: {kind: copy}\n", "")),
      "a.yaml:1:1: the section 'task' is missing; a recipe has at least model, task and train");
}

TEST(Recipe, RejectsMissingTrain) {
  EXPECT_EQ(
      mistake(with("train: {steps: 10}\n", "")),
      "a.yaml:1:1: the section 'train' is missing; a recipe has at least model, task and train");
}

TEST(Recipe, RejectsSectionInsideOfAnother) {
  EXPECT_EQ(mistake(with("task: {kind: copy}", "  task: {kind: copy}")),
            "a.yaml:6:3: the section 'task' stands inside of 'model'; indent it like 'model'");
}

TEST(Recipe, RejectsUnknownSection) {
  EXPECT_EQ(mistake(with("train:", "trian:")),
            "a.yaml:7:1: trian: unknown key; did you mean 'train'? Known keys: evaluate, model, "
            "name, parallel, plugins, seed, task, train");
}

TEST(Recipe, RejectsSectionWithoutContent) {
  EXPECT_EQ(mistake(with("train: {steps: 10}", "train:")),
            "a.yaml:7:1: train: expected a map {key: value, ...}, found nothing; write a value, or "
            "remove the key");
}

TEST(Recipe, RejectsNumberForASection) {
  EXPECT_EQ(mistake(with("train: {steps: 10}", "train: 10")),
            "a.yaml:7:8: train: expected a map {key: value, ...}, found '10'");
}

TEST(Recipe, RejectsMissingWidth) {
  EXPECT_EQ(mistake(with("  width: 8\n", "")),
            "a.yaml:2:3: model.width is missing; write the width of the model, as in width: 64");
}

TEST(Recipe, RejectsMissingBlocks) {
  EXPECT_EQ(mistake(with("  blocks: [[memory]]\n", "")),
            "a.yaml:2:3: model.blocks is missing; write the blocks of the model, bottom to top, as "
            "in blocks: [[NAME]]");
}

TEST(Recipe, RejectsMissingSteps) {
  EXPECT_EQ(mistake(with("{steps: 10}", "{}")),
            "a.yaml:7:8: train.steps is missing; write the number of training steps, or "
            "train.epochs for a task with a training set that ends");
}

TEST(Recipe, RejectsStepsBesideEpochs) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, epochs: 2")),
            "a.yaml:7:28: train.epochs: stands beside train.steps; keep one, and write null for "
            "the other where a recipe is extended");
}

TEST(Recipe, RejectsEpochsOfEndlessData) {
  EXPECT_EQ(mistake(with("steps: 10", "epochs: 2")),
            "a.yaml:7:17: train.epochs: the task 'copy' has fresh data without end, so there are "
            "no epochs; write train.steps");
}

TEST(Recipe, RejectsAbsurdEpochs) {
  EXPECT_EQ(mistake(with(
                "task: {kind: copy}\ntrain: {steps: 10}",
                "task: {kind: copy, segments: {train: [{samples: 100}]}}\ntrain: {epochs: 1e30}")),
            "a.yaml:7:17: train.epochs: 1.0e+30 epochs are more than 1e15 steps");
}

TEST(Recipe, RejectsAccumulationThatDoesNotDivideTheBatch) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, batch: 6, accumulation: 4")),
            "a.yaml:7:44: train.accumulation: 4 micro-batches do not divide train.batch (6); "
            "choose a divisor of it");
}

TEST(Recipe, RejectsNegativeSeed) {
  EXPECT_EQ(mistake(with("task:", "seed: -1\ntask:")),
            "a.yaml:6:7: seed: -1 is out of range; allowed: at least 0");
}

TEST(Recipe, RejectsNameThatIsNoFolder) {
  EXPECT_EQ(mistake(with("task:", "name: a/b\ntask:")),
            "a.yaml:6:7: name: 'a/b' cannot name a run's folder; allowed: 1 to 100 bytes without "
            "'/', not beginning with '.'");
}

TEST(Recipe, RejectsLongNameShortened) {
  EXPECT_EQ(mistake(with("task:", "name: " + std::string(100000, 'x') + "\ntask:")),
            "a.yaml:6:7: name: '" + std::string(60, 'x') +
                "...' cannot name a run's folder; allowed: 1 to 100 bytes without '/', not "
                "beginning with '.'");
}

TEST(Recipe, RejectsEmptyName) {
  EXPECT_EQ(mistake(with("task:", "name: \"\"\ntask:")),
            "a.yaml:6:7: name: '' cannot name a run's folder; allowed: 1 to 100 bytes without '/', "
            "not beginning with '.'");
}

TEST(Recipe, RejectsHiddenName) {
  EXPECT_EQ(mistake(with("task:", "name: ..\ntask:")),
            "a.yaml:6:7: name: '..' cannot name a run's folder; allowed: 1 to 100 bytes without "
            "'/', not beginning with '.'");
}

TEST(Recipe, RejectsWarmupBeyondTheRun) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, schedule: {warmup: 11}")),
            "a.yaml:7:39: train.schedule.warmup: longer than the run (10 steps)");
}

TEST(Recipe, RejectsWrongOptionsOfTheOptimizer) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, optimizer: {betas: [0.9]}")),
            "a.yaml:7:39: train.optimizer.betas: expected two numbers");
}

TEST(Recipe, RejectsTheReservedNameOfATask) {
  EXPECT_EQ(mistake(with("train:", "evaluate: {tasks: {task: {kind: copy}}}\ntrain:")),
            "a.yaml:7:20: evaluate.tasks: the name 'task' stands for the recipe's own task, which "
            "is always scored; choose another name");
}

TEST(Recipe, RejectsListOfTasks) {
  EXPECT_EQ(mistake(with("train:", "evaluate: {tasks: [copy]}\ntrain:")),
            "a.yaml:7:19: evaluate.tasks: expected a map {key: value, ...}, found a list");
}

}  // namespace

}  // namespace echo
