#include "trainers/trainer.h"

#include "framework/src/files/safetensors.h"
#include "tests/trainers/support.h"
#include "trainers/determinism.h"

#include <csignal>

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;
using namespace testing_run;

struct TrainerTest : testing::Test {
  TrainerTest() { use_deterministic_threads(1); }
  void TearDown() override { on_batch = nullptr; }

  static std::vector<Json> lines(const SmallRun& run) {
    std::vector<Json> parsed;
    std::istringstream stream(content(run.run().metrics()));
    for (std::string line; std::getline(stream, line);) parsed.push_back(Json::parse(line));
    return parsed;
  }
  // Everything that must not depend on interruptions.
  static void expect_equal(const SmallRun& a, const SmallRun& b, int64_t step) {
    for (const char* name : {kModelFile, kOptimizerFile}) {
      EXPECT_EQ(content(a.run().checkpoints().path(step) / name),
                content(b.run().checkpoints().path(step) / name))
          << name;
    }
    EXPECT_EQ(metrics_without_time(a.run().metrics()), metrics_without_time(b.run().metrics()));
  }
  static void stop_at(Split split, int64_t sample) {
    on_batch = [=](Split where, int64_t first) {
      if (where == split && first == sample) std::raise(SIGTERM);
    };
  }
};

TEST_F(TrainerTest, WritesTheFilesOfARunFolder) {
  SmallRun run;
  const TrainResult result = run.start();
  EXPECT_EQ(result.outcome, Outcome::finished);
  EXPECT_EQ(result.step, 12);
  for (const fs::path& file : {run.run().recipe(), run.run().environment(), run.run().metrics(),
                               run.run().summary(), run.run().report(), run.run().log()})
    EXPECT_TRUE(fs::is_regular_file(file)) << file;
  EXPECT_THAT(run.run().checkpoints().steps(), ElementsAre(8, 12));
  EXPECT_EQ(run.run().checkpoints().latest(), 12);
  EXPECT_EQ(run.run().stage(), RunStage::finished);
}

TEST_F(TrainerTest, WritesTheFieldsOfMetrics) {
  SmallRun run;
  run.start();
  const std::vector<Json> all = lines(run);
  ASSERT_EQ(all.size(), 12u + 4u);  // steps, evaluations at 3, 6, 9 and 12
  std::vector<std::string> keys;
  for (const auto& [key, value] : all[0].items()) keys.push_back(key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("step", "loss", "learning_rate", "gradient_norm",
                                                  "tokens", "tokens_per_second", "seconds"));
  EXPECT_EQ(all[1]["tokens"], 2 * 4 * 6);
  EXPECT_EQ(all[3]["step"], 3);
  EXPECT_TRUE(all[3]["eval"]["task"].contains("accuracy"));
  EXPECT_TRUE(all[3]["eval"]["task"].contains("loss"));
}

TEST_F(TrainerTest, LogsEveryNStepsAndTheLast) {
  SmallRun run;
  run.overrides = {"train.log_every=5", "evaluate.every=null"};
  run.start();
  std::vector<int64_t> steps;
  for (const Json& line : lines(run)) steps.push_back(line["step"]);
  EXPECT_THAT(steps, ElementsAre(5, 10, 12, 12));  // the last one is the evaluation at the end
}

TEST_F(TrainerTest, ScoresTheTasksBesideItsOwn) {
  SmallRun run;
  run.overrides = {"evaluate.tasks={longer: {kind: repeat, length: 9, test: 5}}"};
  const TrainResult result = run.start();
  EXPECT_TRUE(lines(run).back()["eval"]["longer"].contains("accuracy"));
  EXPECT_EQ(result.summary["final"]["longer"]["split"], "test");
  EXPECT_EQ(result.summary["final"]["longer"]["samples"], 5);
  EXPECT_EQ(result.summary["final"]["task"]["split"], "validation");
}

TEST_F(TrainerTest, SumsUpTheRun) {
  SmallRun run;
  const TrainResult result = run.start();
  const Json summary = Json::parse(content(run.run().summary()));
  EXPECT_EQ(summary["step"], 12);
  EXPECT_EQ(summary["metric"], "accuracy");
  EXPECT_EQ(summary["tokens"], 12 * 4 * 6);
  EXPECT_EQ(summary["parameters"], 11 * 8 + 2 * (8 * 8 + 8) + 8);
  EXPECT_TRUE(summary["steps_to_solve"].is_null());
  EXPECT_EQ(summary["final"]["task"]["length"], 6);
  EXPECT_TRUE(summary["final"]["task"].contains("state_bytes"));
  EXPECT_GT(summary["tokens_per_second"], 0);
  const auto last = lines(run).back()["eval"]["task"];
  EXPECT_EQ(summary["final"]["task"]["scores"], last);
  EXPECT_EQ(summary, Json(result.summary));
}

TEST_F(TrainerTest, RecordsTheFirstEvaluationThatSolvesTheTask) {
  SmallRun run;
  run.overrides = {"train.steps=200", "train.optimizer.peak_rate=0.1", "evaluate.every=10",
                   "train.checkpoint.every=50"};
  const TrainResult result = run.start();
  std::optional<int64_t> first;
  double best = 0;
  for (const Json& line : lines(run)) {
    if (!line.contains("eval")) continue;
    const double accuracy = line["eval"]["task"]["accuracy"];
    best = std::max(best, accuracy);
    if (!first && accuracy >= 0.99) first = line["step"];
  }
  ASSERT_TRUE(first);
  EXPECT_EQ(result.summary["steps_to_solve"], *first);
  EXPECT_EQ(result.summary["best"], best);
}

TEST_F(TrainerTest, DescribesItsEnvironment) {
  SmallRun run;
  run.start();
  const Json environment = Json::parse(content(run.run().environment()));
  for (const char* key : {"version", "compiler", "libtorch", "threads", "device", "seed", "plugins",
                          "command", "processor"})
    EXPECT_TRUE(environment.contains(key)) << key;
  EXPECT_EQ(environment["seed"], 3);
  EXPECT_EQ(environment["device"], "cpu");
  EXPECT_EQ(environment["command"], Json({"echo-lm", "train"}));
}

TEST_F(TrainerTest, PutsTheRecipeIntoTheModelFile) {
  SmallRun run;
  run.start();
  const auto metadata = read_safetensors(run.run().checkpoints().path(12) / kModelFile).metadata;
  EXPECT_EQ(metadata.at("recipe"), content(run.run().recipe()));
  EXPECT_EQ(metadata.at("kinds"), "{\"mean\":1}");
  EXPECT_TRUE(metadata.count("plugins"));
}

TEST_F(TrainerTest, ASignalFinishesTheStepAndSaves) {
  SmallRun run;
  stop_at(Split::train, 6 * 4);
  const TrainResult result = run.start();
  EXPECT_EQ(result.outcome, Outcome::stopped);
  EXPECT_LT(result.step, 12);
  EXPECT_EQ(run.run().checkpoints().latest(), result.step);
  EXPECT_EQ(run.run().stage(), RunStage::unfinished);
  EXPECT_TRUE(result.summary.is_null());
  EXPECT_THAT(content(run.run().log()), HasSubstr("SIGTERM came: stopped after step"));
}

TEST_F(TrainerTest, AResumedRunEqualsAnUninterruptedOne) {
  SmallRun whole, parted;
  whole.overrides = parted.overrides = {"model.dropout=0.2", "train.steps=40", "task.padded=true"};
  whole.start();
  for (const int64_t sample : {28, 100}) {
    stop_at(Split::train, sample);
    const TrainResult result = sample == 28 ? parted.start() : parted.resume();
    ASSERT_EQ(result.outcome, Outcome::stopped);
  }
  on_batch = nullptr;
  EXPECT_EQ(parted.resume().outcome, Outcome::finished);
  expect_equal(whole, parted, 40);
}

TEST_F(TrainerTest, AnEvaluationThatWasStoppedIsMadeUpFor) {
  SmallRun whole, parted;
  whole.overrides = parted.overrides = {"evaluate.batch=4"};
  whole.start();
  int evaluations = 0;
  on_batch = [&](Split split, int64_t first) {
    if (split == Split::validation && first == 4 && ++evaluations == 2) std::raise(SIGINT);
  };
  const TrainResult stopped = parted.start();
  EXPECT_EQ(stopped.outcome, Outcome::stopped);
  EXPECT_EQ(stopped.step, 6);
  on_batch = nullptr;
  parted.resume();
  expect_equal(whole, parted, 12);
}

TEST_F(TrainerTest, ARunThatDiedGoesBackToItsCheckpoint) {
  SmallRun whole, parted;
  whole.start();
  on_batch = [](Split split, int64_t first) {
    if (split == Split::train && first == 10 * 4) throw std::runtime_error("as if killed");
  };
  EXPECT_THROW(parted.start(), std::runtime_error);
  EXPECT_EQ(parted.run().checkpoints().latest(), 8);
  EXPECT_GT(lines(parted).back()["step"], 8);  // of the lost future
  on_batch = nullptr;
  parted.resume();
  expect_equal(whole, parted, 12);
}

TEST_F(TrainerTest, ARunThatDiedBeforeItsFirstCheckpointBeginsAgain) {
  SmallRun whole, parted;
  whole.start();
  on_batch = [](Split split, int64_t first) {
    if (split == Split::train && first == 2 * 4) throw std::runtime_error("as if killed");
  };
  EXPECT_THROW(parted.start(), std::runtime_error);
  on_batch = nullptr;
  EXPECT_EQ(parted.run().stage(), RunStage::begun);
  EXPECT_EQ(parted.resume().outcome, Outcome::finished);
  expect_equal(whole, parted, 12);
}

TEST_F(TrainerTest, ASignalInTheFinalEvaluationLosesNothing) {
  SmallRun whole, parted;
  whole.overrides = parted.overrides = {"task.test=8"};
  whole.start();
  stop_at(Split::test, 4);
  EXPECT_EQ(parted.start().outcome, Outcome::stopped);
  EXPECT_EQ(parted.run().stage(), RunStage::unfinished);
  on_batch = nullptr;
  const TrainResult result = parted.resume();
  EXPECT_EQ(result.outcome, Outcome::finished);
  EXPECT_EQ(result.summary["final"]["task"]["split"], "test");
  expect_equal(whole, parted, 12);
}

TEST_F(TrainerTest, ABatchWithoutALabelIsNamedAndSkipped) {
  SmallRun run;
  run.overrides = {"train.batch=1", "task.unlabelled=3", "train.steps=6"};
  EXPECT_EQ(run.start().outcome, Outcome::finished);
  EXPECT_THAT(run.screen.str(), AllOf(HasSubstr("step 1: the batch has no scored token"),
                                      HasSubstr("step 4: the batch has no scored token"),
                                      Not(HasSubstr("step 2: the batch"))));
  EXPECT_FALSE(lines(run)[0].contains("loss"));
  EXPECT_TRUE(lines(run)[1].contains("loss"));
  EXPECT_THAT(content(run.run().log()), HasSubstr("no scored token"));
}

TEST_F(TrainerTest, ALossThatIsNotFiniteStopsTheRunAndKeepsTheCheckpoint) {
  SmallRun run;
  run.overrides = {"train.optimizer.peak_rate=1e37", "train.clip=null", "train.checkpoint.every=1",
                   "train.steps=1000"};
  const std::string message = message_of<Error>([&] { run.start(); });
  EXPECT_THAT(message, AllOf(HasSubstr("is not finite"), HasSubstr("The first that went wrong is"),
                             HasSubstr("is whole"), HasSubstr("train.optimizer.peak_rate")));
  const auto last = run.run().checkpoints().latest();
  ASSERT_TRUE(last);
  EXPECT_EQ(verify_checkpoint(run.run().checkpoints().path(*last)).step, *last);
  EXPECT_THAT(content(run.run().log()), HasSubstr("is not finite"));
}

TEST_F(TrainerTest, AModelThatAnUpdateSpoiledIsNotSaved) {
  SmallRun run;
  run.overrides = {"train.optimizer.peak_rate=1e38", "train.optimizer.weight_decay=1000",
                   "train.checkpoint.every=1", "train.steps=1"};
  EXPECT_THAT(message_of<Error>([&] { run.start(); }),
              AllOf(HasSubstr("step 1 spoiled the model"), HasSubstr("the parameter"),
                    HasSubstr("Nothing was saved before")));
  EXPECT_FALSE(run.run().checkpoints().latest());
  EXPECT_FALSE(fs::exists(run.run().summary()));
}

TEST_F(TrainerTest, WritesNoControlCharactersIntoAFile) {
  SmallRun run;
  run.start();
  for (const char letter : run.screen.str()) EXPECT_TRUE(letter == '\n' || letter >= ' ');
}

}  // namespace
}  // namespace echo
