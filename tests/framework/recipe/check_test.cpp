#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::mistake;
using toy::read;
using toy::with;

TEST(RecipeCheck, RejectsTaskWithoutThePrefixThatAMixerReads) {
  EXPECT_EQ(mistake(with("heads: 2", "heads: 2, mode: prefix")),
            "a.yaml:4:44: model.mixers.memory.mode: the mixer reads a prefix as a whole, which the "
            "task 'copy' (task) does not mark; choose another mode, or a task with a prefix");
}

TEST(RecipeCheck, RejectsEvaluationWithoutThePrefixThatAMixerReads) {
  EXPECT_EQ(
      mistake(with("heads: 2", "heads: 2, mode: prefix"),
              {"task.prefix=true", "evaluate.tasks.x={kind: copy}"}),
      "a.yaml:4:44: model.mixers.memory.mode: the mixer reads a prefix as a whole, which the task "
      "'copy' (evaluate.tasks.x) does not mark; choose another mode, or a task with a prefix");
}

TEST(RecipeCheck, RejectsMixerWithoutBfloat16) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, precision: bfloat16"),
                    {"model.mixers.memory={kind: plain}"}),
            "a.yaml:7:31: train.precision: the mixer 'plain' (model.mixers.memory) does not work "
            "in bfloat16; write float32, or take another mixer");
}

TEST(RecipeCheck, RejectsMixerThatCannotForgetAtADocument) {
  EXPECT_EQ(mistake(with("task: {kind: copy}", "task: {kind: copy, starts: true}"),
                    {"model.mixers.memory={kind: plain}"}),
            "--set model.mixers.memory: 'plain' cannot forget where a document begins, which the "
            "task 'copy' (task) asks for; take another mixer");
}

TEST(RecipeCheck, RejectsMixerThatCannotSkipPadding) {
  EXPECT_EQ(mistake(with("task: {kind: copy}", "task: {kind: copy, lengths: true}"),
                    {"model.mixers.memory={kind: plain}"}),
            "--set model.mixers.memory: 'plain' cannot skip padding, which the task 'copy' (task) "
            "asks for; take another mixer");
}

TEST(RecipeCheck, RejectsMixerThatCannotShareASequence) {
  EXPECT_EQ(mistake(kRecipe, {"model.mixers.memory={kind: plain}", "parallel.sequence=2"}),
            "--set model.mixers.memory: 'plain' cannot share a sequence among ranks, which "
            "parallel.sequence: 2 asks for; take another mixer, or parallel.sequence: 1");
}

TEST(RecipeCheck, RejectsVocabularyBelowTheTasks) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  vocabulary: 4")),
            "a.yaml:3:15: model.vocabulary: the task 'copy' has 16 tokens, but the model knows 4; "
            "write at least 16");
}

TEST(RecipeCheck, RejectsTaskThatDoesNotSayItsVocabulary) {
  EXPECT_EQ(mistake(kRecipe, {"task.vocabulary=0"}),
            "a.yaml:2:3: model.vocabulary is missing; the task 'copy' does not say how many tokens "
            "it has");
}

TEST(RecipeCheck, RejectsEvaluationWithALargerVocabulary) {
  EXPECT_EQ(
      mistake(with("train:", "evaluate: {tasks: {big: {kind: copy, vocabulary: 99}}}\ntrain:")),
      "a.yaml:7:25: evaluate.tasks.big: the task 'copy' has 99 tokens, but the model knows 16; "
      "write model.vocabulary: at least 99");
}

TEST(RecipeCheck, RejectsTooFewPositions) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  positions: {kind: learned, length: 4}")),
            "a.yaml:3:38: model.positions.length: 4 positions, but samples of task have up to 8 "
            "tokens; write at least 8");
}

TEST(RecipeCheck, RejectsPositionsThatAreNotLearned) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  positions: {length: 4}")),
            "a.yaml:3:23: model.positions.length: there are no positions to count; write kind: "
            "learned beside it, or remove it");
}

TEST(RecipeCheck, RejectsPositionsOfUnknownLength) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  positions: {kind: learned}"), {"task.length=0"}),
            "a.yaml:3:14: model.positions.length is missing; the task does not say how long its "
            "samples are, so write the number of positions");
}

TEST(RecipeCheck, AllowsPrefixThatTheTaskMarks) {
  EXPECT_EQ(mistake(with("heads: 2", "mode: prefix"), {"task.prefix=true"}), "");
}

TEST(RecipeCheck, AllowsBfloat16) {
  EXPECT_EQ(read(kRecipe, {"train.precision=bfloat16"}).train.precision, Precision::bfloat16);
}

TEST(RecipeCheck, AllowsLargerVocabularyThanTheTasks) {
  EXPECT_EQ(read(kRecipe, {"model.vocabulary=32"}).model.vocabulary, 32);
}

}  // namespace

}  // namespace echo
