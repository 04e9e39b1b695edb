#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::read;
using toy::with;

TEST(ResolvedRecipe, WritesEveryDefault) {
  EXPECT_EQ(resolved_yaml(read(kRecipe)), R"(name: a
seed: 0
plugins: []
model:
  width: 8
  vocabulary: 16
  mixers:
    memory:
      kind: recall
      heads: 2
      rank: 4
      ridge: 0.1
      gate: false
      note: plain
      kernels: [3]
      rates: []
      limit: null
      mode: exact
  blocks:
    - [{mixer: memory, norm: pre, scale: 1}]
  norm: {kind: rms_norm, eps: 1.0e-06}
  head: {tied: true}
  positions: {kind: none, length: null}
  dropout: 0
  embedding_scale: 1
  logit_scale: 1
task:
  kind: copy
  length: 8
  vocabulary: 16
  prefix: false
  starts: false
  lengths: false
  text: ""
  more: []
  segments: {train: []}
train:
  steps: 10
  epochs: null
  batch: 64
  accumulation: 1
  precision: float32
  optimizer: {kind: adamw, peak_rate: 0.001, betas: [0.9, 0.95]}
  schedule: {kind: cosine, warmup: 0}
  clip: 1
  log_every: 10
  checkpoint: {every: 500, keep: 2}
evaluate:
  every: null
  batch: 64
  tasks: {}
parallel: {data: null, sequence: 1, zero: 0, time_limit: 600, grace: 30}
)");
}

// What is read again must be the same text: checked with everything that can be written.
void expect_fixpoint(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const std::string once = resolved_yaml(read(text, overrides));
  EXPECT_EQ(resolved_yaml(read(once)), once);
}

TEST(ResolvedRecipe, ReadsBackToItself) { expect_fixpoint(kRecipe); }

TEST(ResolvedRecipe, KeepsBlocksAndTheirBranches) {
  expect_fixpoint(with("[[memory]]",
                       "[[memory], {repeat: 3, block: [memory, {mixer: p, norm: post, scale: -2}, "
                       "memory, memory]}]"),
                  {"model.mixers.p={kind: plain}"});
}

TEST(ResolvedRecipe, KeepsDefaultsThatDependOnThePlace) {
  const Recipe recipe = read(with("[[memory]]", "[[p], [p]]"), {"model.mixers.p={kind: plain}"});
  const Recipe again = read(resolved_yaml(recipe));
  const auto& options = *again.model.blocks[1][0].mixer.options;
  EXPECT_EQ(static_cast<const OptionsOf<toy::PlainOptions>&>(options).value.depth_scale, 0.5);
}

TEST(ResolvedRecipe, KeepsNumbersToTheLastBit) {
  const double value = 0.1 + 0.2;
  const Recipe recipe = read(with("width: 8", "width: 8\n  logit_scale: 0.30000000000000004"));
  EXPECT_EQ(read(resolved_yaml(recipe)).model.logit_scale, value);
}

TEST(ResolvedRecipe, WritesNumbersForEveryReaderOfYaml) {
  const Recipe recipe =
      read(with("width: 8", "width: 8\n  logit_scale: 1e4\n  embedding_scale: 1e-7"));
  const std::string text = resolved_yaml(recipe);
  EXPECT_NE(text.find("logit_scale: 10000\n"), std::string::npos);
  EXPECT_NE(text.find("embedding_scale: 1.0e-07\n"), std::string::npos);
}

TEST(ResolvedRecipe, KeepsLargeIntegers) {
  const Recipe recipe = read(with("task:", "seed: 9223372036854775807\ntask:"));
  EXPECT_EQ(read(resolved_yaml(recipe)).seed, INT64_MAX);
}

TEST(ResolvedRecipe, KeepsTextThatLooksLikeSomethingElse) {
  for (const char* note : {"'null'", "'true'", "'12'",   "'1e3'",   "''",
                           "'~'",    "'- a'",  "'a: b'", "'a # b'", "\"a\\nb\\t\\\\\\\"\"",
                           "'é'",    "' a '",  "'{a}'",  "'@x'",    "\"\\x01\"",
                           "'.5'",   "'0x1F'", "'*a'",   "'&a'",    "'!a'",
                           "'%'"}) {
    const Recipe recipe = read(with("heads: 2", std::string("note: ") + note));
    const auto text = [](const Recipe& of) {
      const auto& options = *of.model.mixers.at("memory").options;
      return static_cast<const OptionsOf<toy::RecallOptions>&>(options).value.note;
    };
    EXPECT_EQ(text(read(resolved_yaml(recipe))), text(recipe)) << note;
  }
}

TEST(ResolvedRecipe, KeepsListsOfMaps) {
  expect_fixpoint(with("task: {kind: copy}",
                       "task: {kind: copy, text: 'a b.txt', more: [x, /y], segments: {train: "
                       "[{length: 3, samples: 9}, {length: 4}]}}"));
}

TEST(ResolvedRecipe, WritesStepsForEpochs) {
  const Recipe recipe =
      read(with("task: {kind: copy}\ntrain: {steps: 10}",
                "task: {kind: copy, segments: {train: [{samples: 128}]}}\ntrain: {epochs: 2}"));
  EXPECT_NE(resolved_yaml(recipe).find("steps: 4\n  epochs: null\n"), std::string::npos);
}

TEST(ResolvedRecipe, KeepsEvaluation) {
  expect_fixpoint(kRecipe, {"evaluate={every: 5, batch: 3, tasks: {b: {kind: copy}, a: {kind: "
                            "copy, length: 5}}}"});
}

}  // namespace

}  // namespace echo
