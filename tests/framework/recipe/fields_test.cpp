#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::mistake;
using toy::read;
using toy::with;

const toy::RecallOptions& options_of(const Recipe& recipe) {
  return static_cast<const OptionsOf<toy::RecallOptions>&>(*recipe.model.blocks[0][0].mixer.options)
      .value;
}

const toy::RecallOptions& memory(const std::string& fields) {
  static Recipe recipe;
  recipe = read(with("heads: 2", fields));
  return options_of(recipe);
}

TEST(RecipeFields, ReadsEveryType) {
  const toy::RecallOptions& options = memory(
      "heads: 4, rank: 5, ridge: 1e-3, gate: true, note: a b, kernels: [1, 2], rates: [0.5], "
      "limit: 2, "
      "mode: exact");
  EXPECT_EQ(options.heads, 4);
  EXPECT_EQ(options.rank, 5);
  EXPECT_EQ(options.ridge, 1e-3);
  EXPECT_TRUE(options.gate);
  EXPECT_EQ(options.note, "a b");
  EXPECT_EQ(options.kernels, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(options.rates, (std::vector<double>{0.5}));
  EXPECT_EQ(options.limit, 2.0);
  EXPECT_EQ(options.mode, toy::Mode::exact);
}

TEST(RecipeFields, ReadsExponentOfAWholeNumberAsInteger) {
  EXPECT_EQ(read(with("steps: 10", "steps: 1e3")).train.steps, 1000);
}

TEST(RecipeFields, ReadsHexadecimalInteger) { EXPECT_EQ(memory("heads: 0x4").heads, 4); }

TEST(RecipeFields, ReadsSignedNumbers) {
  EXPECT_EQ(read(with("width: 8", "width: +8\n  logit_scale: -1.5")).model.logit_scale, -1.5);
}

TEST(RecipeFields, ReadsLargestInteger) {
  EXPECT_EQ(read(with("task:", "seed: 9223372036854775807\ntask:")).seed, INT64_MAX);
}

TEST(RecipeFields, ReadsNumberAsText) { EXPECT_EQ(memory("note: 007").note, "007"); }

TEST(RecipeFields, ReadsQuotedText) { EXPECT_EQ(memory("note: 'a: b # c'").note, "a: b # c"); }

TEST(RecipeFields, ReadsNullOfAnOptionalFieldAsNone) {
  EXPECT_EQ(read(with("steps: 10", "steps: 10, clip: null")).train.clip, std::nullopt);
}

TEST(RecipeFields, ReadsNullOfAnotherFieldAsItsDefault) {
  EXPECT_EQ(read(with("steps: 10", "steps: 10, batch: null")).train.batch, 64);
}

TEST(RecipeFields, MakesPathsAbsolute) {
  const Recipe recipe =
      read(with("task: {kind: copy}", "task: {kind: copy, text: ../a.txt, more: [b, /c]}"));
  const auto& options = static_cast<const OptionsOf<toy::CopyOptions>&>(*recipe.task.options).value;
  EXPECT_EQ(options.text, "/a.txt");
  EXPECT_EQ(options.more, (std::vector<std::string>{"/recipes/b", "/c"}));
}

TEST(RecipeFields, KeepsAnEmptyPathEmpty) {
  const Recipe recipe = read(with("task: {kind: copy}", "task: {kind: copy, text: ''}"));
  EXPECT_EQ(static_cast<const OptionsOf<toy::CopyOptions>&>(*recipe.task.options).value.text, "");
}

TEST(RecipeFields, ReadsListOfMaps) {
  const Recipe recipe = read(with(
      "task: {kind: copy}", "task: {kind: copy, segments: {train: [{length: 3}, {samples: 9}]}}"));
  const auto& options = static_cast<const OptionsOf<toy::CopyOptions>&>(*recipe.task.options).value;
  ASSERT_EQ(options.segments.train.size(), 2u);
  EXPECT_EQ(options.segments.train[0].length, 3);
  EXPECT_EQ(options.segments.train[1].length, 8);
  EXPECT_EQ(options.segments.train[1].samples, 9);
}

TEST(RecipeFields, RejectsUnknownKeyWithNearestName) {
  EXPECT_EQ(
      mistake(with("width: 8", "widht: 8")),
      "a.yaml:2:3: model.widht: unknown key; did you mean 'width'? Known keys: blocks, dropout, "
      "embedding_scale, head, logit_scale, mixers, norm, positions, vocabulary, width");
}

TEST(RecipeFields, RejectsUnknownKeyWithAllNamesWhenNoneIsNear) {
  EXPECT_EQ(mistake(with("train: {steps: 10}", "train: {steps: 10, quickly: true}")),
            "a.yaml:7:20: train.quickly: unknown key; known keys: accumulation, batch, checkpoint, "
            "clip, epochs, log_every, optimizer, precision, schedule, steps");
}

TEST(RecipeFields, RejectsKeyThatLacksASpace) {
  EXPECT_EQ(
      mistake(with("heads: 2", "heads:2")),
      "a.yaml:4:28: model.mixers.memory.heads:2: unknown key; is a space missing after the ':'?");
}

TEST(RecipeFields, RejectsUnknownFieldOfAKind) {
  EXPECT_EQ(
      mistake(with("heads: 2", "head: 2")),
      "a.yaml:4:28: model.mixers.memory.head: 'recall' has no such field; did you mean 'heads'? "
      "Its fields: gate, heads, kernels, kind, limit, mode, note, rank, rates, ridge");
}

TEST(RecipeFields, ListsTheFieldsOfAKindWhenNoneIsNear) {
  EXPECT_EQ(mistake(with("heads: 2", "banana: 2")),
            "a.yaml:4:28: model.mixers.memory.banana: 'recall' has no such field; its fields: "
            "gate, heads, kernels, kind, limit, mode, note, rank, rates, ridge");
}

TEST(RecipeFields, RejectsTextForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: many")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found 'many'");
}

TEST(RecipeFields, RejectsQuotedNumber) {
  EXPECT_EQ(mistake(with("width: 8", "width: \"8\"")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found the text "
            "'8'; remove the quotes");
}

TEST(RecipeFields, RejectsListForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: [8]")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found a list");
}

TEST(RecipeFields, RejectsMapForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: {a: 8}")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found a map");
}

TEST(RecipeFields, RejectsFractionForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8.5")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found '8.5'");
}

TEST(RecipeFields, RejectsTruthValueForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: true")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found 'true'");
}

TEST(RecipeFields, RejectsInfinityForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: .inf")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found '.inf'");
}

TEST(RecipeFields, RejectsKeyWithoutValue) {
  EXPECT_EQ(mistake(with("width: 8", "width:")),
            "a.yaml:2:3: model.width: expected an integer (at least 1), found nothing; "
            "write a value, or remove the key");
}

TEST(RecipeFields, RejectsOptionalKeyWithoutValue) {
  EXPECT_EQ(
      mistake(with("steps: 10", "steps: 10, clip: ")),
      "a.yaml:7:20: train.clip: expected a number (above 0), found nothing; write a value, or "
      "remove the key");
}

TEST(RecipeFields, ShortensTextBetweenCharacters) {
  std::string letters;
  for (int i = 0; i < 40; ++i) letters += "€";
  EXPECT_EQ(mistake(with("width: 8", "width: " + letters)),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found '" +
                letters.substr(0, 60) + "...'");
  EXPECT_EQ(mistake(with("width: 8", "width: a" + letters)),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found 'a" +
                letters.substr(0, 57) + "...'");
}

TEST(RecipeFields, RejectsIntegerBelowItsRange) {
  EXPECT_EQ(mistake(with("width: 8", "width: 0")),
            "a.yaml:2:10: model.width: 0 is out of range; allowed: at least 1");
}

TEST(RecipeFields, RejectsIntegerAboveItsRange) {
  EXPECT_EQ(
      mistake(with("heads: 2", "heads: 100")),
      "a.yaml:4:35: model.mixers.memory.heads: 100 is out of range; allowed: between 1 and 64");
}

TEST(RecipeFields, RejectsIntegerBeyond64Bits) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 99999999999999999999")),
            "a.yaml:7:16: train.steps: 99999999999999999999 does not fit into 64 bits; allowed: at "
            "least 1");
}

TEST(RecipeFields, RejectsExponentBeyond64Bits) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 1e30")),
            "a.yaml:7:16: train.steps: 1e30 does not fit into 64 bits; allowed: at least 1");
}

TEST(RecipeFields, RejectsTextForANumber) {
  EXPECT_EQ(mistake(with("heads: 2", "ridge: small")),
            "a.yaml:4:35: model.mixers.memory.ridge: expected a number (above 0), found 'small'");
}

TEST(RecipeFields, RejectsNotANumber) {
  EXPECT_EQ(
      mistake(with("heads: 2", "ridge: .nan")),
      "a.yaml:4:35: model.mixers.memory.ridge: expected a finite number (above 0), found '.nan'");
}

TEST(RecipeFields, RejectsInfinity) {
  EXPECT_EQ(
      mistake(with("heads: 2", "ridge: -.inf")),
      "a.yaml:4:35: model.mixers.memory.ridge: expected a finite number (above 0), found '-.inf'");
}

TEST(RecipeFields, RejectsNumberBeyond64Bits) {
  EXPECT_EQ(mistake(with("heads: 2", "ridge: 1e400")),
            "a.yaml:4:35: model.mixers.memory.ridge: 1e400 does not fit into float32; allowed: 0, "
            "and sizes from 1.4e-45 to 3.4e38");
}

TEST(RecipeFields, RejectsNumberThatFloat32TakesForInfinity) {
  EXPECT_EQ(mistake(with("heads: 2", "limit: -1e300")),
            "a.yaml:4:35: model.mixers.memory.limit: -1e300 does not fit into float32; allowed: 0, "
            "and sizes from 1.4e-45 to 3.4e38");
}

TEST(RecipeFields, RejectsNumberThatFloat32TakesForZero) {
  EXPECT_EQ(mistake(with("heads: 2", "ridge: 1e-60")),
            "a.yaml:4:35: model.mixers.memory.ridge: 1e-60 does not fit into float32; allowed: 0, "
            "and sizes from 1.4e-45 to 3.4e38");
}

TEST(RecipeFields, RejectsWidthThatNoMachineHolds) {
  EXPECT_EQ(mistake(with("width: 8", "width: 1e8")),
            "a.yaml:2:10: model.width: 1e8 is out of range; allowed: between 1 and 1048576");
}

TEST(RecipeFields, RejectsVocabularyThatNoMachineHolds) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  vocabulary: 2147483647")),
            "a.yaml:3:15: model.vocabulary: 2147483647 is out of range; allowed: between 1 and "
            "16777216");
}

TEST(RecipeFields, RejectsPositionsThatNoMachineHolds) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  positions: {length: 1e9}")),
            "a.yaml:3:23: model.positions.length: 1e9 is out of range; allowed: between 1 and "
            "16777216");
}

TEST(RecipeFields, RejectsBatchThatNoMachineHolds) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, batch: 1e18")),
            "a.yaml:7:27: train.batch: 1e18 is out of range; allowed: between 1 and 2147483648");
}

TEST(RecipeFields, ShortensNumbers) {
  EXPECT_EQ(mistake(with("width: 8", "width: " + std::string(1000, '9'))),
            "a.yaml:2:10: model.width: " + std::string(60, '9') +
                "... is out of range; allowed: between 1 and 1048576");
}

TEST(RecipeFields, RejectsBlockOfTextForAnInteger) {
  EXPECT_EQ(mistake(with("width: 8", "width: |\n    8")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found the text '8...'; "
            "write it on the line of its key");
}

TEST(RecipeFields, RejectsNumberAtAnOpenEndOfItsRange) {
  EXPECT_EQ(mistake(with("heads: 2", "ridge: 0")),
            "a.yaml:4:35: model.mixers.memory.ridge: 0 is out of range; allowed: above 0");
}

TEST(RecipeFields, RejectsNumberOutsideAHalfOpenRange) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  dropout: 1")),
            "a.yaml:3:12: model.dropout: 1 is out of range; allowed: at least 0 and below 1");
}

TEST(RecipeFields, RejectsWordForATruthValue) {
  EXPECT_EQ(mistake(with("heads: 2", "gate: yes")),
            "a.yaml:4:34: model.mixers.memory.gate: expected true or false, found 'yes'");
}

TEST(RecipeFields, RejectsNumberForATruthValue) {
  EXPECT_EQ(mistake(with("heads: 2", "gate: 1")),
            "a.yaml:4:34: model.mixers.memory.gate: expected true or false, found '1'");
}

TEST(RecipeFields, RejectsListForText) {
  EXPECT_EQ(mistake(with("heads: 2", "note: [a]")),
            "a.yaml:4:34: model.mixers.memory.note: expected text, found a list");
}

TEST(RecipeFields, RejectsUnknownChoiceWithNearestWord) {
  EXPECT_EQ(mistake(with("heads: 2", "mode: prefx")),
            "a.yaml:4:34: model.mixers.memory.mode: expected one of exact, prefix, found 'prefx'; "
            "did you mean 'prefix'?");
}

TEST(RecipeFields, RejectsAbbreviatedChoiceWithTheWholeWord) {
  EXPECT_EQ(mistake(with("steps: 10", "steps: 10, precision: bf16")),
            "a.yaml:7:31: train.precision: expected one of float32, bfloat16, found 'bf16'; did "
            "you mean 'bfloat16'?");
}

TEST(RecipeFields, RejectsListForAChoice) {
  EXPECT_EQ(mistake(with("heads: 2", "mode: [exact]")),
            "a.yaml:4:34: model.mixers.memory.mode: expected one of exact, prefix, found a list");
}

TEST(RecipeFields, RejectsNumberForAList) {
  EXPECT_EQ(mistake(with("heads: 2", "kernels: 3")),
            "a.yaml:4:37: model.mixers.memory.kernels: expected a list of integers, found '3'");
}

TEST(RecipeFields, RejectsWrongItemOfAList) {
  EXPECT_EQ(
      mistake(with("heads: 2", "kernels: [3, x]")),
      "a.yaml:4:41: model.mixers.memory.kernels.1: expected an integer (at least 1), found 'x'");
}

TEST(RecipeFields, RejectsItemOutOfRange) {
  EXPECT_EQ(
      mistake(with("heads: 2", "rates: [0.5, 2]")),
      "a.yaml:4:41: model.mixers.memory.rates.1: 2 is out of range; allowed: between 0 and 1");
}

TEST(RecipeFields, RejectsTextForAnOptionalInteger) {
  EXPECT_EQ(mistake(with("heads: 2", "rank: x")),
            "a.yaml:4:34: model.mixers.memory.rank: expected an integer (at least 1), found 'x'");
}

TEST(RecipeFields, RejectsWordForASectionThatHasAKind) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  norm: layer_norm")),
            "a.yaml:3:9: model.norm: expected a map, as in {kind: layer_norm}, found 'layer_norm'");
}

TEST(RecipeFields, RejectsWordForASection) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  head: untied")),
            "a.yaml:3:9: model.head: expected a map, as in {tied: ...}, found 'untied'");
}

TEST(RecipeFields, RejectsUnknownKeyInASection) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  norm: {epss: 1}")),
            "a.yaml:3:10: model.norm.epss: unknown key; did you mean 'eps'? Known keys: eps, kind");
}

TEST(RecipeFields, RejectsUnknownNorm) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  norm: {kind: layernorm}")),
            "a.yaml:3:16: model.norm.kind: expected one of rms_norm, layer_norm, found "
            "'layernorm'; did you mean 'layer_norm'?");
}

TEST(RecipeFields, RejectsMapForAListOfMaps) {
  EXPECT_EQ(
      mistake(with("task: {kind: copy}", "task: {kind: copy, segments: {train: {length: 3}}}")),
      "a.yaml:6:38: task.segments.train: expected a list [...], found a map");
}

TEST(RecipeFields, RejectsNumberInAListOfMaps) {
  EXPECT_EQ(mistake(with("task: {kind: copy}", "task: {kind: copy, segments: {train: [3]}}")),
            "a.yaml:6:39: task.segments.train.0: expected a map {key: value, ...}, found '3'");
}

TEST(RecipeFields, RejectsValueInAListOfMaps) {
  EXPECT_EQ(mistake(with("task: {kind: copy}",
                         "task: {kind: copy, segments: {train: [{}, {length: 0}]}}")),
            "a.yaml:6:52: task.segments.train.1.length: 0 is out of range; allowed: at least 1");
}

TEST(RecipeFields, RejectsUnknownKeyInAListOfMaps) {
  EXPECT_EQ(
      mistake(with("task: {kind: copy}", "task: {kind: copy, segments: {train: [{lenth: 3}]}}")),
      "a.yaml:6:40: task.segments.train.0.lenth: unknown key; did you mean 'length'? Known keys: "
      "length, samples");
}

TEST(RecipeFields, RejectsTextForAListOfPaths) {
  EXPECT_EQ(mistake(with("train:", "plugins: x.so\ntrain:")),
            "a.yaml:7:10: plugins: expected a list of paths (text), found 'x.so'");
}

TEST(RecipeFields, ShortensTheTextThatItFound) {
  EXPECT_EQ(mistake(with(
                "width: 8",
                "width: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
            "a.yaml:2:10: model.width: expected an integer (at least 1), found "
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'");
}

}  // namespace

}  // namespace echo
