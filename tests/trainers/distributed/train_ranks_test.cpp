// Trains with several processes and compares with one. Each test starts the program as a person
// would; without mpirun they are left out, saying so.

#include "framework/src/files/safetensors.h"
#include "tests/cli/process.h"
#include "trainers/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace echo {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kDone = 0, kFailed = 1, kMistake = 2, kStopped = 75;

// Batches with samples of unequal lengths: ranks score unequal numbers of tokens.
const char* const kRecipe = R"(name: small
seed: 3
model:
  width: 32
  dropout: 0.1
  mixers:
    conv: {kind: short_conv}
    recall: {kind: linear_attention, heads: 2}
  blocks: [[conv, recall]]
task: {kind: mqar, length: 32, pairs: 4, vocabulary: 128, validation_samples: 20, test_samples: 12}
train:
  steps: 12
  batch: 6
  log_every: 1
  optimizer: {kind: adamw, peak_rate: 3e-3}
  schedule: {kind: cosine, warmup: 4}
  checkpoint: {every: 4, keep: 9}
evaluate: {every: 6}
)";

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class RanksTest : public testing::Test {
 protected:
  void SetUp() override {
    if (run_bash("command -v mpirun", folder_.path()).code != 0)
      GTEST_SKIP() << "there is no mpirun here (package libopenmpi-dev)";
    std::ofstream(folder_.path() / "r.yaml") << kRecipe;
  }

  Outcome run(const std::string& command) {
    return run_bash("export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; " + command,
                    folder_.path());
  }

  // Trains into a folder of this name and expects that it ends well.
  void train(const std::string& name, const std::string& options) {
    const Outcome outcome = run("echo-lm train r.yaml --threads 1 --run " + name + " " + options);
    ASSERT_EQ(outcome.code, kDone) << outcome.mistakes;
  }

  std::map<std::string, at::Tensor> model(const std::string& name, int64_t step) const {
    std::map<std::string, at::Tensor> tensors;
    const fs::path path = Checkpoints(folder_.path() / name / "checkpoints").path(step);
    for (const fs::path& file : checkpoint_files(path, CheckpointPart::model))
      tensors.merge(read_safetensors(file).tensors);
    return tensors;
  }

  // The largest difference between two runs' parameters after a step, relative to the largest
  // value.
  double difference(const std::string& a, const std::string& b, int64_t step) const {
    const auto one = model(a, step), other = model(b, step);
    EXPECT_EQ(one.size(), other.size());
    double worst = 0;
    for (const auto& [name, value] : one) {
      const double distance = (value - other.at(name)).abs().max().item<double>();
      worst = std::max(worst, distance / value.abs().max().item<double>());
    }
    return worst;
  }

  std::vector<nlohmann::json> metrics(const std::string& name) const {
    std::vector<nlohmann::json> lines;
    std::ifstream file(folder_.path() / name / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  nlohmann::json summary(const std::string& name) const {
    return nlohmann::json::parse(std::ifstream(folder_.path() / name / "summary.json"));
  }

  fs::path path(const std::string& name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
};

// AdamW divides by the gradient's size: rounding of small gradients is seen in the parameters.
constexpr double kRounding = 2e-4;

TEST_F(RanksTest, DataParallelEqualsOneProcess) {
  train("one", "");
  train("two", "--ranks 2");
  train("three", "--ranks 3 --set train.accumulation=2");
  EXPECT_LT(difference("one", "two", 12), kRounding);
  EXPECT_LT(difference("one", "three", 12), kRounding);
  const auto one = metrics("one"), two = metrics("two");
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    if (one[i].contains("loss")) {
      EXPECT_NEAR(one[i]["loss"], two[i]["loss"], 1e-5);
      EXPECT_EQ(one[i]["tokens"], two[i]["tokens"]);
    }
  }
  EXPECT_NEAR(summary("one")["final"]["task"]["scores"]["loss"],
              summary("two")["final"]["task"]["scores"]["loss"], 1e-5);
}

TEST_F(RanksTest, GiveTheSameBitsEveryTime) {
  train("first", "--ranks 2");
  train("second", "--ranks 2");
  EXPECT_EQ(difference("first", "second", 12), 0);
}

TEST_F(RanksTest, StartedByMpirunGiveTheSameBits) {
  train("ranks", "--ranks 2");
  const Outcome outcome =
      run("mpirun -n 2 --oversubscribe --bind-to none echo-lm train r.yaml --threads 1 --run mpi");
  ASSERT_EQ(outcome.code, kDone) << outcome.mistakes;
  EXPECT_EQ(difference("ranks", "mpi", 12), 0);
}

TEST_F(RanksTest, SharedOptimizerStateEqualsOneProcess) {
  train("one", "");
  train("zero", "--ranks 3 --set parallel.zero=1");
  EXPECT_LT(difference("one", "zero", 12), kRounding);
  // Every state is written once, by the rank that keeps it.
  size_t states = 0;
  const fs::path last = Checkpoints(path("zero") / "checkpoints").path(12);
  for (const fs::path& file : checkpoint_files(last, CheckpointPart::optimizer))
    states += read_safetensors(file).tensors.size();
  EXPECT_EQ(states, 2 * model("one", 12).size());
}

TEST_F(RanksTest, OnlyTheFirstPrintsAndEachHasALog) {
  const Outcome outcome = run("echo-lm train r.yaml --threads 1 --run two --ranks 2");
  ASSERT_EQ(outcome.code, kDone) << outcome.mistakes;
  const std::string line = "step 6: task accuracy";
  const size_t first = outcome.mistakes.find(line);
  EXPECT_NE(first, std::string::npos) << outcome.mistakes;
  EXPECT_EQ(outcome.mistakes.find(line, first + 1), std::string::npos) << outcome.mistakes;
  EXPECT_THAT(outcome.mistakes, HasSubstr("2 ranks (2 x 1) of 1 thread"));
  EXPECT_TRUE(fs::exists(path("two/log.txt")));
  EXPECT_TRUE(fs::exists(path("two/logs/rank-1.txt")));
}

TEST_F(RanksTest, GoOnAsOneProcessOrAnyOtherNumber) {
  train("whole", "");
  // All processes at once, as if the machine had gone.
  EXPECT_NE(run("echo-lm train r.yaml --threads 1 --run parts --ranks 2 & all=$!; "
                "until [ -e parts/checkpoints/000004 ]; do sleep 0.02; done; "
                "mpi=$(pgrep -P $all); kill -KILL $all $mpi $(pgrep -P $mpi); wait $all")
                .code,
            kDone);
  const std::string on = "echo-lm train --resume --run parts --from 4 --threads 1";
  Outcome outcome = run(on + " --ranks 4 --set parallel.zero=1");
  ASSERT_EQ(outcome.code, kDone) << outcome.mistakes;
  EXPECT_LT(difference("whole", "parts", 12), kRounding);
  outcome = run("rm parts/summary.json; echo-lm train --resume --run parts --from 8 --threads 1");
  ASSERT_EQ(outcome.code, kDone) << outcome.mistakes;
  EXPECT_LT(difference("whole", "parts", 12), kRounding);
}

TEST_F(RanksTest, SendTheBytesOfTheFormula) {
  train("two", "--ranks 2");
  int64_t elements = 0;
  for (const auto& [name, value] : model("two", 12)) elements += value.numel() + 1;
  const int64_t gradients = 4 * elements;  // 2 (n - 1) / n of the bytes
  const int64_t control = 3 * 8 + 2 * 8;   // counts, the loss
  EXPECT_EQ(summary("two")["ranks"]["bytes_sent_per_step"], gradients + control);
}

TEST_F(RanksTest, WriteOneTraceThatShowsTheExchange) {
  train("two", "--ranks 2 --trace trace.json");
  const auto trace = nlohmann::json::parse(std::ifstream(path("trace.json")));
  std::map<std::pair<int, std::string>, int> seen;
  for (const auto& event : trace["traceEvents"])
    ++seen[{event["pid"].get<int>(), event["name"].get<std::string>()}];
  for (const int rank : {0, 1}) {
    EXPECT_EQ((seen[{rank, "backward"}]), 12);
    EXPECT_EQ((seen[{rank, "gradients 0"}]), 12);
  }
}

TEST_F(RanksTest, RefuseAMeshThatDoesNotFit) {
  const Outcome outcome = run("echo-lm train r.yaml --ranks 2 --run no --set parallel.data=4");
  EXPECT_EQ(outcome.code, kMistake);
  EXPECT_THAT(outcome.mistakes, HasSubstr("parallel.data 4 and parallel.sequence 1 make 4 ranks, "
                                          "and there are 2; start as many with --ranks 4"));
  EXPECT_EQ(outcome.mistakes.find("rank 1"), std::string::npos) << outcome.mistakes;
  EXPECT_FALSE(fs::exists(path("no")));
}

TEST_F(RanksTest, RefuseABatchThatIsTooSmall) {
  const Outcome outcome = run("echo-lm train r.yaml --ranks 3 --run no --set train.batch=2");
  EXPECT_EQ(outcome.code, kMistake);
  EXPECT_THAT(outcome.mistakes, HasSubstr("train.batch 2 has fewer samples"));
}

// Ranks that a launcher has started say it once, without mpirun's own remarks.
TEST_F(RanksTest, RefuseTogether) {
  const Outcome outcome =
      run("mpirun -n 5 --oversubscribe --bind-to none echo-lm train r.yaml --run no --set "
          "train.batch=2");
  EXPECT_EQ(outcome.code, kMistake);
  EXPECT_EQ(occurrences(outcome.mistakes, "train.batch 2 has fewer samples"), 1)
      << outcome.mistakes;
  EXPECT_FALSE(fs::exists(path("no")));
}

TEST_F(RanksTest, ASignalToOneStopsAllWithACheckpoint) {
  const Outcome outcome =
      run("echo-lm train r.yaml --threads 1 --ranks 2 --run two --set train.steps=100000 "
          "--set train.checkpoint.every=null --set evaluate.every=null & "
          "until grep -q '\"step\"' two/metrics.jsonl 2>/dev/null; do sleep 0.1; done; "
          "kill -TERM $!; wait $!");
  EXPECT_EQ(outcome.code, kStopped) << outcome.mistakes;
  const auto latest = Checkpoints(path("two") / "checkpoints").latest();
  ASSERT_TRUE(latest);
  EXPECT_GT(*latest, 0);
  EXPECT_THAT(outcome.mistakes, HasSubstr("--resume --run two --ranks 2`"));
  const Outcome again = run("echo-lm train r.yaml --run two");
  EXPECT_EQ(again.code, kMistake);
  EXPECT_THAT(again.mistakes, HasSubstr("go on with it by `echo-lm train --resume --run two "
                                        "--ranks 2`"));
}

// The process of rank 1 among those that the program under mpirun's number $mpi has started.
const char* const kFindRankOne =
    "one() { for p in $(pgrep -P $1); do if tr '\\0' '\\n' < /proc/$p/environ | grep -q "
    "'^OMPI_COMM_WORLD_RANK=1$'; then echo $p; fi; done; }; ";

TEST_F(RanksTest, AKilledRankIsNamed) {
  const Outcome outcome = run(std::string(kFindRankOne) +
                              "echo-lm train r.yaml --threads 1 --ranks 2 --run two "
                              "--set train.steps=100000 & echo=$!; "
                              "until [ -e two/checkpoints/000004 ]; do sleep 0.1; done; "
                              "kill -KILL $(one $(pgrep -P $echo)); wait $echo");
  EXPECT_NE(outcome.code, kDone);
  EXPECT_THAT(outcome.mistakes, HasSubstr("rank 1 was ended by signal 9"));
  EXPECT_THAT(outcome.mistakes, testing::Not(HasSubstr("mpirun")));
}

// A rank that dies in a pass, as the plugin's mixer lets it.
TEST_F(RanksTest, ARankThatDiesInAPassLosesNothing) {
  std::ofstream(folder_.path() / "base.yaml") << kRecipe;
  std::ofstream(folder_.path() / "r.yaml")
      << "extends: base.yaml\nplugins: [" << nlohmann::json(DYING_PLUGIN).dump()
      << "]\nmodel: {mixers: {end: {kind: dying/identity}}, blocks: [[conv, end, recall]]}\n";
  train("whole", "--ranks 2");
  for (const std::string place : {"forward", "backward"}) {
    const std::string name = "dies_" + place;
    const Outcome outcome = run("ECHO_TEST_DEATH='" + place +
                                " 1 7' echo-lm train r.yaml --threads 1 --ranks 2 --run " + name);
    EXPECT_EQ(outcome.code, kFailed) << outcome.mistakes;
    EXPECT_THAT(outcome.mistakes, HasSubstr("rank 1 was ended by signal 9"));
    EXPECT_THAT(outcome.mistakes, HasSubstr("go on with --resume --ranks 2"));
    EXPECT_EQ(occurrences(outcome.mistakes, "info: plugin dying"), 1) << outcome.mistakes;
    EXPECT_EQ(Checkpoints(path(name) / "checkpoints").latest(), 4);
    const Outcome resumed = run("echo-lm train --resume --threads 1 --ranks 2 --run " + name);
    ASSERT_EQ(resumed.code, kDone) << resumed.mistakes;
    EXPECT_EQ(difference("whole", name, 12), 0) << place;
  }
  // Any other number of ranks goes on, too.
  run("ECHO_TEST_DEATH='backward 0 6' echo-lm train r.yaml --threads 1 --ranks 2 --run alone");
  const Outcome resumed = run("echo-lm train --resume --threads 1 --run alone");
  ASSERT_EQ(resumed.code, kDone) << resumed.mistakes;
  EXPECT_LT(difference("whole", "alone", 12), kRounding);
}

TEST_F(RanksTest, ARankThatDiesWhileACheckpointIsWrittenLosesNothing) {
  const std::string options =
      "--threads 1 --ranks 2 --set train.steps=40 --set evaluate.every=null "
      "--set train.checkpoint.every=1 --set train.checkpoint.keep=3 --run ";
  ASSERT_EQ(run("echo-lm train r.yaml " + options + "whole").code, kDone);
  for (const std::string step : {"000011", "000023"}) {
    const std::string name = "dies_" + step;
    const Outcome outcome =
        run(std::string(kFindRankOne) + "echo-lm train r.yaml " + options + name + " & echo=$!; " +
            "until [ -e " + name + "/checkpoints/000002 ]; do sleep 0.01; done; " +
            "rank=$(one $(pgrep -P $echo)); until [ -e " + name + "/checkpoints/.writing-" + step +
            " ]; do :; done; kill -KILL $rank; wait $echo");
    EXPECT_EQ(outcome.code, kFailed) << outcome.mistakes;
    EXPECT_THAT(outcome.mistakes, HasSubstr("rank 1 was ended by signal 9"));
    const Outcome resumed = run("echo-lm train --resume --threads 1 --ranks 2 --run " + name);
    ASSERT_EQ(resumed.code, kDone) << resumed.mistakes;
    EXPECT_EQ(difference("whole", name, 40), 0) << step;
  }
}

TEST_F(RanksTest, ARankThatStandsStillForAWhileGoesOn) {
  train("whole", "--ranks 2");
  const Outcome outcome = run(
      std::string(kFindRankOne) +
      "echo-lm train r.yaml --threads 1 --ranks 2 --run two & echo=$!; " +
      "until [ -e two/checkpoints/000004 ]; do sleep 0.02; done; rank=$(one $(pgrep -P $echo)); "
      "kill -STOP $rank; sleep 4; kill -CONT $rank; wait $echo");
  EXPECT_EQ(outcome.code, kDone) << outcome.mistakes;
  EXPECT_EQ(difference("whole", "two", 12), 0);
}

TEST_F(RanksTest, ProgressIsOneLineOnATerminal) {
  const std::string command =
      "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; "
      "echo-lm train r.yaml --threads 1 --ranks 2 --run two --set train.steps=200 --set "
      "evaluate.every=null";
  const Outcome outcome = run_bash(command, folder_.path(), 70);
  ASSERT_EQ(outcome.code, kDone) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("\rstep "));
  EXPECT_THAT(outcome.output, HasSubstr("/200"));
}

TEST_F(RanksTest, AStoppedRankIsNamed) {
  const Outcome outcome =
      run(std::string(kFindRankOne) +
          "mpirun -n 2 --oversubscribe --bind-to none echo-lm train r.yaml --threads 1 --run two "
          "--set train.steps=100000 --set parallel.time_limit=2 & mpi=$!; "
          "until [ -e two/checkpoints/000004 ]; do sleep 0.1; done; "
          "kill -STOP $(one $mpi); wait $mpi");
  EXPECT_EQ(outcome.code, kFailed) << outcome.mistakes;
  EXPECT_THAT(outcome.mistakes, HasSubstr("rank 1 has not come to '"));
  EXPECT_THAT(outcome.mistakes, HasSubstr("does not answer: its process has stopped"));
}

}  // namespace
}  // namespace echo
