#include "trainers/bench/bench.h"

#include "tests/trainers/support.h"
#include "trainers/bench/cell.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing_run::kRecipe;
using testing_run::message_of;
using testing_run::plugins;
using testing_run::TemporaryFolder;

class BenchFile : public ::testing::Test {
 protected:
  BenchFile() { testing_run::write(folder / "small.yaml", kRecipe); }

  Bench read(const std::string& text, const std::vector<std::string>& overrides = {},
             bool quick = false) {
    testing_run::write(folder / "b.yaml", text);
    return read_bench(folder / "b.yaml", quick, overrides);
  }
  std::string mistake(const std::string& text, const std::vector<std::string>& overrides = {},
                      bool quick = false) {
    return message_of<ConfigError>([&] { read(text, overrides, quick); });
  }
  Cell cell(const Bench& bench, size_t combination = 0, int64_t seed = 0) {
    return CellMaker(bench, plugins())
        .make(combinations(bench).at(combination), std::nullopt, seed);
  }

  TemporaryFolder folder;
  const std::string good =
      "bench:\n"
      "  base: {extends: small.yaml}\n"
      "  arms: {plain: {}, helped: {model: {mixers: {mean: {auxiliary: true}}}}}\n"
      "  grid: {model.width: [4, 8], train.batch: [2]}\n"
      "  rates: [0.01, 0.02]\n"
      "  rate_seeds: [7]\n"
      "  seeds: [0, 1]\n"
      "  quick: {arms: {helped: null}, seeds: [5], base: {train: {steps: 2}}}\n";
};

TEST_F(BenchFile, IsTheProductOfArmsAndGrid) {
  const Bench bench = read(good);
  EXPECT_EQ(bench.name, "b");
  std::vector<std::string> texts;
  for (const Combination& combination : combinations(bench))
    texts.push_back(combination_text(bench, combination));
  EXPECT_EQ(texts, (std::vector<std::string>{"plain, model.width 4", "plain, model.width 8",
                                             "helped, model.width 4", "helped, model.width 8"}));
}

TEST_F(BenchFile, WritesArmGridRateAndSeedIntoACell) {
  const Bench bench = read(good);
  const Node tree = cell_tree(bench, combinations(bench)[2], 0.02, 7);
  const Recipe recipe = read_recipe(tree, plugins().registry());
  EXPECT_EQ(recipe.model.width, 4);
  EXPECT_EQ(recipe.train.batch, 2);
  EXPECT_EQ(recipe.seed, 7);
  EXPECT_EQ(recipe.name, "helped");
  EXPECT_THAT(resolved_yaml(recipe), HasSubstr("peak_rate: 0.02"));
  EXPECT_THAT(resolved_yaml(recipe), HasSubstr("auxiliary: true"));
}

TEST_F(BenchFile, TakesTheBaseAsTheNameOfAFile) {
  const Bench bench = read("bench: {base: small.yaml, arms: {a: {}}, seeds: [0]}");
  EXPECT_EQ(
      read_recipe(cell_tree(bench, combinations(bench)[0], std::nullopt, 0), plugins().registry())
          .model.width,
      8);
}

TEST_F(BenchFile, LaysQuickOverTheBench) {
  const Bench bench = read(good, {}, true);
  EXPECT_EQ(bench.arms.size(), 1);
  EXPECT_EQ(bench.seeds, std::vector<int64_t>{5});
  EXPECT_EQ(cell(bench).steps, 2);
}

TEST_F(BenchFile, LaysOverridesOverQuick) {
  const Bench bench = read(good, {"bench.seeds=[8, 9]", "train.steps=3"}, true);
  EXPECT_EQ(bench.seeds, (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(cell(bench).steps, 3);
}

TEST_F(BenchFile, RefusesMistakesWithTheirPlace) {
  const std::string file = (folder / "b.yaml").string();
  EXPECT_THAT(mistake("name: x\n"), HasSubstr("has no section 'bench'"));
  EXPECT_THAT(mistake("bench: {arms: {a: {}}, seeds: [0]}"), HasSubstr("bench.base is missing"));
  EXPECT_THAT(mistake("bench: {base: small.yaml, seeds: [0]}"), HasSubstr("bench.arms is missing"));
  EXPECT_THAT(mistake("bench:\n  base: small.yaml\n  arms: {a: {}}\n  seeds: [0]\n  sed: 3\n"),
              ::testing::AllOf(StartsWith(file + ":5:3: "), HasSubstr("did you mean 'seeds'?")));
  EXPECT_THAT(mistake("bench: {base: small.yaml, arms: {a: {}}, seeds: []}"),
              HasSubstr("bench.seeds: has no seed"));
  EXPECT_THAT(mistake("bench: {base: small.yaml, arms: {a: {}}, seeds: [1, 1]}"),
              HasSubstr("bench.seeds: holds a value twice"));
  EXPECT_THAT(mistake("bench: {base: small.yaml, arms: {a: {}}, seeds: [1], rates: [0.1, 0.2]}"),
              HasSubstr("bench.rate_seeds: is missing"));
  EXPECT_THAT(mistake("bench: {base: small.yaml, arms: {a: {}}, seeds: [1], rates: [0.1, 0.2], "
                      "rate_seeds: [1]}"),
              HasSubstr("the seed 1 is one of bench.seeds too"));
  EXPECT_THAT(mistake("bench: {base: small.yaml, arms: {a: {}}, seeds: [1]}", {}, true),
              HasSubstr("has no 'quick'"));
  EXPECT_THAT(mistake("bench: {base: gone.yaml, arms: {a: {}}, seeds: [1]}"),
              HasSubstr("no such file"));
}

TEST_F(BenchFile, NamesTheArmOfAWrongRecipe) {
  const Bench bench = read(
      "bench:\n  base: small.yaml\n  arms:\n    a: {model: {mixers: {mean: {steeep: true}}}}\n"
      "  seeds: [0]\n");
  const std::string message = message_of<ConfigError>([&] { cell(bench); });
  EXPECT_THAT(message, HasSubstr("b.yaml:4:"));
  EXPECT_THAT(message, HasSubstr("steeep"));
  EXPECT_THAT(message, HasSubstr("(in the bench's arm a)"));
}

TEST_F(BenchFile, NamesTheProgramsOwnBenches) {
  EXPECT_THAT(message_of<ConfigError>([] { find_bench("mqra"); }),
              StartsWith("--bench: unknown bench 'mqra'"));
}

TEST_F(BenchFile, GivesEqualKeysToEqualRecipesOnly) {
  const Bench bench = read(good);
  const Bench renamed = read(
      "name: other\nbench: {base: small.yaml, arms: {other: {model: {width: 4}, train: {batch: "
      "2}}}, seeds: [0]}");
  EXPECT_EQ(cell(bench, 0).key, cell(renamed, 0).key);
  EXPECT_NE(cell(bench, 0).key, cell(bench, 1).key);
  EXPECT_NE(cell(bench, 0).key, cell(bench, 2).key);
  EXPECT_NE(cell(bench, 0, 0).key, cell(bench, 0, 1).key);
}

TEST_F(BenchFile, GivesAnotherKeyWhenTheDataChange) {
  const Bench bench = read(good);
  testing_run::data = "one text";
  const std::string before = cell(bench).key;
  testing_run::data = "another";
  EXPECT_NE(cell(bench).key, before);
  testing_run::data = "";
}

// The same name and options, but it computes something else: as after a change of code.
TEST_F(BenchFile, GivesAnotherKeyWhenAMixerComputesSomethingElse) {
  class Other final : public Mixer {
   public:
    Other(const testing_run::MeanOptions& options, const Place& place)
        : Mixer(place), mean_(child("", std::make_unique<testing_run::Mean>(options, place))) {}
    const Traits& traits() const override { return mean_.traits(); }
    int64_t flops(int64_t batch, int64_t length) const override {
      return mean_.flops(batch, length);
    }

   protected:
    at::Tensor forward(const at::Tensor& x, const Span& span) override {
      return mean_(x, span) * 1.01;
    }

   private:
    testing_run::Mean& mean_;
  };
  Plugins others;
  others.registry().add_mixer<Other, testing_run::MeanOptions>("mean", "mean of the past");
  others.registry().add_task<testing_run::Repeat, testing_run::RepeatOptions>("repeat", "");
  others.registry().add_optimizer<AdamW, AdamWOptions>("adamw", "Adam");
  others.registry().add_schedule<testing_run::Flat, testing_run::NoOptions>("flat", "");
  const Bench bench = read(good);
  const Combination first = combinations(bench)[0];
  EXPECT_NE(CellMaker(bench, others).make(first, std::nullopt, 0).key, cell(bench).key);
}

}  // namespace
}  // namespace echo
