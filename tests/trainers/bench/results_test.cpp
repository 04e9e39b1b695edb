#include "trainers/bench/results.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing_run::SmallRun;

CellResult validated(double accuracy, double loss = 1) {
  CellResult result{.metric = "accuracy"};
  result.validation = accuracy;
  result.validation_loss = loss;
  return result;
}

TEST(CellResults, AreReadFromAFinishedRun) {
  SmallRun run;
  run.overrides = {"task.test=4"};
  const TrainResult trained = run.start();
  const auto result = read_cell(run.run().path());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->metric, "accuracy");
  EXPECT_EQ(result->split, "test");
  EXPECT_EQ(*result->score, trained.summary["final"]["task"]["scores"]["accuracy"]);
  EXPECT_EQ(result->parameters, trained.summary["parameters"]);
  EXPECT_EQ(result->curve.steps, (std::vector<double>{3, 6, 9, 12}));
  EXPECT_EQ(*result->validation, result->curve.values.back());
}

TEST(CellResults, AreNotThereForARunThatIsNotFinished) {
  SmallRun run;
  run.start();
  std::filesystem::remove(run.run().summary());
  EXPECT_FALSE(read_cell(run.run().path()));
  EXPECT_FALSE(read_cell(run.folder / "nothing"));
}

TEST(CellResults, SayWhatToDoAboutADamagedSummary) {
  SmallRun run;
  run.start();
  testing_run::write(run.run().summary(), "{\"metric\": ");
  EXPECT_THAT(testing_run::message_of<Error>([&] { read_cell(run.run().path()); }),
              ::testing::HasSubstr("is damaged; remove"));
}

TEST(BestRate, HasTheHighestMedian) {
  EXPECT_EQ(
      best_rate({{.rate = 1e-3, .results = {validated(0.9), validated(0.1), validated(0.2)}},
                 {.rate = 1e-2, .results = {validated(0.3), validated(0.3), validated(0.1)}}}),
      1);
}

TEST(BestRate, HasTheLowerLossAmongEqualMedians) {
  EXPECT_EQ(best_rate({{.rate = 1e-3, .results = {validated(1, 0.5)}},
                       {.rate = 1e-2, .results = {validated(1, 0.1)}}}),
            1);
}

TEST(BestRate, IsNotOneThatFailed) {
  EXPECT_EQ(best_rate({{.rate = 1e-3, .results = {validated(0.1)}},
                       {.rate = 1e-2, .results = {std::nullopt}}}),
            0);
  EXPECT_FALSE(best_rate({{.rate = 1e-2, .results = {std::nullopt}}}));
}

TEST(BestRate, IsTheLowestWhereLowIsGood) {
  CellResult good = validated(1.5), bad = validated(2.5);
  good.metric = bad.metric = "bits_per_byte";
  EXPECT_EQ(best_rate({{.rate = 1, .results = {bad}}, {.rate = 2, .results = {good}}}), 1);
}

TEST(Results, AreOneRowPerSeed) {
  Bench bench{.name = "b", .seeds = {0, 1}};
  bench.arms.push_back({"a, \"quoted\"", {}});
  CellResult result{.run = "cells/1", .task = "mqar", .metric = "accuracy"};
  result.score = 0.5;
  result.steps_to_solve = 300;
  result.slices = {{"64/4", 0.75}};
  result.parameters = 10;
  result.state_bytes = 20;
  result.tokens_per_second = 30.4;
  Group group{.combination = {0, {}}, .rate = 0.01};
  group.by_seed[0] = result;
  result.score = 0.25;
  result.steps_to_solve = std::nullopt;
  group.by_seed[1] = result;
  const BenchResults results{.groups = {group}, .cells = 2, .finished = 2};
  EXPECT_EQ(results_csv(bench, results),
            "arm,task,seed,learning_rate,accuracy,best_accuracy,steps_to_solve,parameters,"
            "state_bytes,tokens_per_second,run,accuracy/64/4\n"
            "\"a, \"\"quoted\"\"\",mqar,0,0.01,0.5,,300,10,20,30.0,cells/1,0.75\n"
            "\"a, \"\"quoted\"\"\",mqar,1,0.01,0.25,,,10,20,30.0,cells/1,0.75\n");
  EXPECT_EQ(results_json(bench, results)["summary"][0]["median_accuracy"], 0.375);
  EXPECT_EQ(results_json(bench, results)["summary"][0]["solved"], 1);
}

}  // namespace
}  // namespace echo
