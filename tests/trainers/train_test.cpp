#include "trainers/train.h"

#include "tests/trainers/support.h"
#include "trainers/determinism.h"
#include "trainers/run.h"

#include <csignal>

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;
using namespace testing_run;

struct TrainTest : testing::Test {
  void TearDown() override {
    on_batch = nullptr;
    use_deterministic_threads(1);
  }

  static void stop_in(SmallRun& run) {
    on_batch = [](Split split, int64_t first) {
      if (split == Split::train && first == 8 * 4) std::raise(SIGTERM);
    };
    EXPECT_EQ(run.start().outcome, Outcome::stopped);
    on_batch = nullptr;
  }
  static void flip_a_bit(const fs::path& file) {
    std::string text = content(file);
    text[text.size() / 2] ^= 1;
    write(file, text);
  }
  SmallRun run;
};

TEST_F(TrainTest, AFinishedFolderIsLeftAndTheNextOneIsNumbered) {
  run.start();
  const std::string before = content(run.run().metrics());
  EXPECT_EQ(run.start().folder.path(), run.folder / "run-2");
  EXPECT_EQ(run.start().folder.path(), run.folder / "run-3");
  EXPECT_EQ(content(run.run().metrics()), before);
}

TEST_F(TrainTest, AnUnfinishedFolderIsRefusedWithTheWayToResume) {
  stop_in(run);
  EXPECT_THAT(message_of<ConfigError>([&] { run.start(); }),
              AllOf(HasSubstr("is not finished"),
                    HasSubstr("train --resume --run " + (run.folder / "run").string())));
}

TEST_F(TrainTest, AForeignFolderIsRefused) {
  fs::create_directories(run.folder / "run");
  write(run.folder / "run/thesis.tex", "x");
  EXPECT_THAT(message_of<ConfigError>([&] { run.start(); }), HasSubstr("is no run folder"));
  EXPECT_EQ(content(run.folder / "run/thesis.tex"), "x");
}

TEST_F(TrainTest, ARunKilledInItsFirstMillisecondStartsAgain) {
  fs::create_directories(run.folder / "run/checkpoints");
  write(run.folder / "run/environment.json", "{\"half");
  write(run.folder / "run/recipe.yaml.tmp", "na");
  EXPECT_EQ(run.start().outcome, Outcome::finished);
  EXPECT_EQ(run.start().folder.path(), run.folder / "run-2");
}

TEST_F(TrainTest, ARunWithoutACheckpointStartsAgainWithTheSameRecipeOnly) {
  run.start();
  fs::remove(run.run().summary());
  fs::remove_all(run.folder / "run/checkpoints");
  ASSERT_EQ(run.run().stage(), RunStage::begun);
  run.overrides = {"train.batch=3"};
  EXPECT_THAT(
      message_of<ConfigError>([&] { run.start(); }),
      AllOf(HasSubstr("began with another recipe"), HasSubstr("train.batch: 4 in the run")));
  run.overrides = {};
  EXPECT_EQ(run.start().folder.path(), run.folder / "run");
}

TEST_F(TrainTest, ResumingNeedsARun) {
  EXPECT_THAT(message_of<ConfigError>([&] { run.resume(); }),
              AllOf(HasSubstr("there is no run to resume in"), HasSubstr("without --resume")));
  EXPECT_FALSE(fs::exists(run.folder / "run"));
  EXPECT_THAT(message_of<ConfigError>([&] { run.with({.resume = true}); }),
              HasSubstr("--resume needs a RECIPE or --run DIR"));
  EXPECT_THAT(message_of<ConfigError>([&] { run.with({}); }), HasSubstr("train needs a RECIPE"));
}

TEST_F(TrainTest, ResumesByFolderAlone) {
  stop_in(run);
  EXPECT_EQ(run.with({.run = (run.folder / "run").string(), .resume = true}).outcome,
            Outcome::finished);
}

TEST_F(TrainTest, ResumesTheLastOfTheNumberedFoldersOfARecipe) {
  fs::current_path(run.folder.path());
  TrainRequest request = run.request();
  request.run = "";
  run.with(request);
  on_batch = [](Split split, int64_t first) {
    if (split == Split::train && first == 8 * 4) std::raise(SIGTERM);
  };
  run.with(request);
  on_batch = nullptr;
  request.resume = true;
  const TrainResult result = run.with(request);
  EXPECT_EQ(result.folder.path(), "runs/small-2");
  EXPECT_EQ(result.outcome, Outcome::finished);
  fs::current_path("/");
}

TEST_F(TrainTest, ResumesTheFolderThatIsNamedWhateverStandsBesideIt) {
  run.start();
  stop_in(run);
  run.overrides = {"train.steps=14"};
  const TrainResult result = run.resume();
  EXPECT_EQ(result.folder.path(), run.folder / "run");
  EXPECT_EQ(result.step, 14);
}

TEST_F(TrainTest, ResumingAFinishedRunWritesTheReportThatIsMissing) {
  run.start();
  fs::remove(run.run().report());
  EXPECT_EQ(run.resume().outcome, Outcome::finished);
  EXPECT_TRUE(fs::exists(run.run().report()));
}

TEST_F(TrainTest, ADamagedSummaryIsNamed) {
  run.start();
  write(run.run().summary(), "garbage");
  EXPECT_THAT(message_of<Error>([&] { run.resume(); }),
              AllOf(HasSubstr("summary.json is damaged"), HasSubstr("scores the run again")));
}

TEST_F(TrainTest, ADamagedEnvironmentCountsAsNotKnown) {
  stop_in(run);
  write(run.run().environment(), R"({"threads": "x", "device": 3, "resumed": "y"})");
  EXPECT_EQ(run.resume().outcome, Outcome::finished);
}

TEST_F(TrainTest, OtherDataThanTheRunBeganWithIsRefused) {
  data = "a1";
  stop_in(run);
  const std::string metrics = content(run.run().metrics());
  data = "b2";
  EXPECT_THAT(message_of<ConfigError>([&] { run.resume(); }),
              AllOf(HasSubstr("data of the run's task has changed"), HasSubstr("\"a1\""),
                    HasSubstr("\"b2\"")));
  EXPECT_EQ(content(run.run().metrics()), metrics);
  data = "a1";
  EXPECT_EQ(run.resume().outcome, Outcome::finished);
  data = "";
}

TEST_F(TrainTest, ACopyThatFollowedLinksCanBeResumed) {
  stop_in(run);
  const fs::path latest = run.run().checkpoints().path(8).parent_path() / "latest";
  const fs::path target = latest.parent_path() / fs::read_symlink(latest);
  fs::remove(latest);
  fs::copy(target, latest, fs::copy_options::recursive);
  EXPECT_EQ(run.resume().outcome, Outcome::finished);
  EXPECT_TRUE(fs::is_symlink(latest));
}

TEST_F(TrainTest, ResumingAFinishedRunDoesNothing) {
  const auto summary = run.start().summary;
  const std::string metrics = content(run.run().metrics());
  const TrainResult again = run.resume();
  EXPECT_EQ(again.outcome, Outcome::finished);
  EXPECT_EQ(again.summary, summary);
  EXPECT_EQ(content(run.run().metrics()), metrics);
  EXPECT_THAT(run.screen.str(), HasSubstr("nothing is left to do"));
}

TEST_F(TrainTest, AFinishedRunMayBeLengthened) {
  run.start();
  run.overrides = {"train.steps=20"};
  const TrainResult result = run.resume();
  EXPECT_EQ(result.step, 20);
  EXPECT_EQ(run.run().stage(), RunStage::finished);
  EXPECT_THAT(content(run.run().recipe()), HasSubstr("steps: 20"));
  EXPECT_THAT(run.screen.str(), HasSubstr("train.steps: 12 in the run, 20 now"));
}

TEST_F(TrainTest, ARunIsNotShortenedBelowWhereItStands) {
  run.start();
  run.overrides = {"train.steps=5"};
  EXPECT_THAT(message_of<ConfigError>([&] { run.resume(); }),
              AllOf(HasSubstr("is at step 12"), HasSubstr("beyond train.steps 5")));
}

TEST_F(TrainTest, ResumingWithAnotherRecipeShowsWhatDiffers) {
  stop_in(run);
  run.overrides = {"train.batch=8", "train.optimizer.peak_rate=0.5", "evaluate.every=6"};
  EXPECT_THAT(message_of<ConfigError>([&] { run.resume(); }),
              AllOf(HasSubstr("train.batch: 4 in the run, 8 now"),
                    HasSubstr("train.optimizer.peak_rate: 0.01 in the run, 0.5 now"),
                    Not(HasSubstr("evaluate.every")), HasSubstr("train --resume --run")));
}

TEST_F(TrainTest, ADamagedCheckpointIsNamedWithTheOneBefore) {
  stop_in(run);
  const int64_t last = *run.run().checkpoints().latest();
  const fs::path file = run.run().checkpoints().path(last) / kModelFile;
  ASSERT_EQ(run.run().checkpoints().steps().size(), 2u);
  const int64_t before = run.run().checkpoints().steps().front();
  flip_a_bit(file);
  EXPECT_THAT(message_of<Error>([&] { run.resume(); }),
              AllOf(HasSubstr(file.string() + " is damaged"),
                    HasSubstr("step " + std::to_string(before) + " is whole"),
                    HasSubstr("--from " + std::to_string(before))));
}

TEST_F(TrainTest, GoesOnFromAnEarlierCheckpointWhenAsked) {
  SmallRun whole;
  whole.start();
  stop_in(run);
  flip_a_bit(run.run().checkpoints().path(*run.run().checkpoints().latest()) / kModelFile);
  TrainRequest request = run.request();
  request.resume = true;
  request.from = run.run().checkpoints().steps().front();
  EXPECT_EQ(run.with(request).outcome, Outcome::finished);
  EXPECT_EQ(content(whole.run().checkpoints().path(12) / kModelFile),
            content(run.run().checkpoints().path(12) / kModelFile));
  EXPECT_EQ(metrics_without_time(whole.run().metrics()), metrics_without_time(run.run().metrics()));
}

TEST_F(TrainTest, SaysSoWhenNoCheckpointIsWhole) {
  stop_in(run);
  for (const int64_t step : run.run().checkpoints().steps())
    flip_a_bit(run.run().checkpoints().path(step) / kTrainerFile);
  EXPECT_THAT(message_of<Error>([&] { run.resume(); }),
              HasSubstr("no earlier checkpoint is whole"));
}

TEST_F(TrainTest, AnUnknownCheckpointIsRefusedWithTheKnownOnes) {
  run.start();
  TrainRequest request = run.request();
  request.resume = true;
  request.from = 7;
  EXPECT_THAT(message_of<ConfigError>([&] { run.with(request); }),
              AllOf(HasSubstr("--from 7"), HasSubstr("it has 8, 12")));
  fs::remove(run.run().summary());
  fs::remove_all(run.folder / "run/checkpoints");
  EXPECT_THAT(message_of<ConfigError>([&] { run.with(request); }), HasSubstr("it has none"));
}

TEST_F(TrainTest, ASecondTrainerInOneFolderIsRefused) {
  stop_in(run);
  const RunLock lock(run.run());
  EXPECT_THAT(message_of<Error>([&] { run.start(); }), HasSubstr("right now"));
  EXPECT_THAT(message_of<Error>([&] { run.resume(); }), HasSubstr("right now"));
}

TEST_F(TrainTest, AFolderThatCannotBeMadeIsRefusedBeforeAnyTraining) {
  write(run.folder / "file", "x");
  bool asked = false;
  on_batch = [&](Split, int64_t) { asked = true; };
  TrainRequest request = run.request();
  request.run = (run.folder / "file/run").string();
  EXPECT_THAT(message_of<Error>([&] { run.with(request); }), HasSubstr("is no folder"));
  EXPECT_FALSE(asked);
}

TEST_F(TrainTest, KeepsThreadsAndDeviceOnResuming) {
  stop_in(run);
  use_deterministic_threads(2);
  run.with({.run = (run.folder / "run").string(), .resume = true});
  const Json environment = Json::parse(content(run.run().environment()));
  EXPECT_EQ(environment["threads"], 1);
  ASSERT_EQ(environment["resumed"].size(), 1u);
  EXPECT_EQ(environment["resumed"][0]["threads"], 1);
  EXPECT_GT(environment["resumed"][0]["from_step"], 0);
}

TEST_F(TrainTest, SaysThatAnotherNumberOfThreadsGivesOtherBits) {
  stop_in(run);
  TrainRequest request = run.request();
  request.resume = true;
  request.threads = 2;
  run.with(request);
  EXPECT_THAT(run.screen.str(), HasSubstr("began with 1 thread: the last bits will differ"));
}

TEST_F(TrainTest, AnUnknownDeviceIsRefusedBeforeAFolderIsMade) {
  TrainRequest request = run.request();
  request.device = "gpu";
  EXPECT_THAT(message_of<ConfigError>([&] { run.with(request); }),
              AllOf(HasSubstr("there is no device 'gpu'"), HasSubstr("allowed: cpu, cuda")));
  EXPECT_FALSE(fs::exists(run.folder / "run"));
}

struct LoadRunTest : TrainTest {
  LoadRunTest() { run.start(); }
};

TEST_F(LoadRunTest, LoadsTheLatestCheckpointOfARun) {
  const LoadedRun loaded = load_run(run.folder / "run", plugins());
  EXPECT_EQ(loaded.step, 12);
  EXPECT_EQ(loaded.recipe.name, "small");
  EXPECT_EQ(loaded.task->info().vocabulary, 11);
  EXPECT_EQ(loaded.model->vocabulary(), 11);
}

TEST_F(LoadRunTest, LoadsOneCheckpointByItsFolder) {
  const LoadedRun loaded = load_run(run.folder / "run/checkpoints/000008", plugins());
  EXPECT_EQ(loaded.step, 8);
  EXPECT_EQ(loaded.folder.path(), run.folder / "run");
  EXPECT_EQ(load_run(run.folder / "run/checkpoints/latest", plugins()).step, 12);
}

TEST_F(LoadRunTest, TakesOverridesOfTheTaskOnly) {
  const LoadedRun loaded =
      load_run(run.folder / "run", plugins(), {.overrides = {"task.length=9"}});
  EXPECT_EQ(loaded.task->info().length, 9);
  EXPECT_THAT(message_of<ConfigError>([&] {
                load_run(run.folder / "run", plugins(), {.overrides = {"model.width=4"}});
              }),
              HasSubstr("a trained model stays as it is"));
}

TEST_F(LoadRunTest, RefusesWhatIsNoRun) {
  EXPECT_THAT(message_of<ConfigError>([&] { load_run(run.folder / "nothing", plugins()); }),
              HasSubstr("there is no run folder"));
  EXPECT_THAT(message_of<ConfigError>([&] { load_run(run.folder.path(), plugins()); }),
              HasSubstr("it has no recipe.yaml"));
  fs::remove_all(run.folder / "run/checkpoints");
  EXPECT_THAT(message_of<Error>([&] { load_run(run.folder / "run", plugins()); }),
              HasSubstr("has no checkpoint yet"));
}

TEST_F(LoadRunTest, NamesTheWholeCheckpointBeforeADamagedOne) {
  flip_a_bit(run.run().checkpoints().path(12) / kModelFile);
  EXPECT_THAT(message_of<Error>([&] { load_run(run.folder / "run", plugins()); }),
              AllOf(HasSubstr("000012/model.safetensors is damaged"),
                    HasSubstr("checkpoints/000008, which is whole")));
}

TEST_F(LoadRunTest, DoesNotMindADamagedOptimizer) {
  flip_a_bit(run.run().checkpoints().path(12) / kOptimizerFile);
  EXPECT_EQ(load_run(run.folder / "run", plugins()).step, 12);
}

}  // namespace
}  // namespace echo
