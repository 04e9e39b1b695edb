// Steps of several ranks, as threads of this process, beside those of one.

#include "framework/src/ranks/local_communicator.h"
#include "tests/trainers/support.h"
#include "trainers/determinism.h"
#include "trainers/learner.h"

#include <map>
#include <mutex>

#include <gmock/gmock.h>

namespace echo {
namespace {

using namespace testing_run;
using testing::HasSubstr;

constexpr int64_t kSteps = 4;
constexpr double kLimit = 60;  // seconds

struct Trained {
  std::vector<StepResult> steps;
  std::map<std::string, at::Tensor> parameters;
  size_t slots = 0;
};

Trained learn(const Recipe& read, Ranks& ranks) {
  const auto task = make(plugins().registry().tasks, read.task, TaskPlace{.seed = 3});
  Learner learner(read, plugins().registry(), at::kCPU, {.ranks = &ranks});
  const DataPlan plan{.task = task.get(),
                      .batch = read.train.batch,
                      .accumulation = read.train.accumulation,
                      .rank = ranks.data_rank(),
                      .ranks = ranks.mesh().data,
                      .sequence_rank = ranks.sequence_rank(),
                      .sequence_ranks = ranks.mesh().sequence};
  Trained trained;
  for (int64_t step = 1; step <= kSteps; ++step)
    trained.steps.push_back(learner.step(step_data(plan, step)));
  for (const Parameter& parameter : learner.model().parameters())
    trained.parameters[parameter.name] = parameter.value().clone();
  trained.slots = learner.slots().size();
  return trained;
}

// What every rank has trained.
std::vector<Trained> learn(const Recipe& read, int64_t count) {
  std::vector<Trained> trained(static_cast<size_t>(count));
  run_local_ranks(count, kLimit, [&](Communicator& communicator) {
    Ranks ranks(communicator.split(0, "all"));
    ranks.arrange(mesh_of(read, count));
    trained[static_cast<size_t>(communicator.rank())] = learn(read, ranks);
  });
  return trained;
}

class RankedLearner : public testing::Test {
 protected:
  RankedLearner() { use_deterministic_threads(1); }

  // Every rank has the losses, norms and parameters of one process.
  void expect_one_process(const std::vector<std::string>& overrides, int64_t count) {
    const Recipe read = recipe(overrides);
    Ranks alone;
    const Trained one = learn(read, alone);
    for (const Trained& rank : learn(read, count)) {
      for (size_t step = 0; step < one.steps.size(); ++step) {
        ASSERT_EQ(one.steps[step].loss.has_value(), rank.steps[step].loss.has_value());
        if (!one.steps[step].loss) continue;
        EXPECT_NEAR(*one.steps[step].loss, *rank.steps[step].loss, 1e-5);
        EXPECT_NEAR(*one.steps[step].gradient_norm, *rank.steps[step].gradient_norm, 1e-5);
        EXPECT_EQ(one.steps[step].tokens, rank.steps[step].tokens);
        ASSERT_EQ(one.steps[step].auxiliary.size(), rank.steps[step].auxiliary.size());
        for (const auto& [name, value] : one.steps[step].auxiliary)
          EXPECT_NEAR(value, rank.steps[step].auxiliary.at(name), 1e-5);
      }
      for (const auto& [name, value] : one.parameters)
        EXPECT_LT((value - rank.parameters.at(name)).abs().max().item<double>(), 1e-4) << name;
    }
  }
};

TEST_F(RankedLearner, LearnsAsOneProcess) {
  expect_one_process({"task.padded=true", "train.batch=9"}, 2);
  expect_one_process({"task.padded=true", "train.batch=9"}, 4);
}

TEST_F(RankedLearner, LearnsInPartsAsOneProcess) {
  expect_one_process({"task.padded=true", "train.batch=12", "train.accumulation=3"}, 2);
}

TEST_F(RankedLearner, LearnsWhereARankHasNoScoredToken) {
  expect_one_process({"task.unlabelled=2", "train.batch=3"}, 3);
}

TEST_F(RankedLearner, AddsUpAuxiliaryLosses) {
  expect_one_process({"model.mixers.mean.auxiliary=true", "train.batch=6"}, 3);
}

TEST_F(RankedLearner, ClipsByTheNormOfAllParameters) {
  expect_one_process({"train.clip=0.01", "train.batch=6"}, 2);
  expect_one_process({"train.clip=0.01", "train.batch=6", "parallel.zero=1"}, 2);
}

TEST_F(RankedLearner, SharesTheOptimizersState) {
  const Recipe read = recipe({"train.batch=6", "parallel.zero=1"});
  expect_one_process({"train.batch=6", "parallel.zero=1"}, 3);
  size_t slots = 0;
  const std::vector<Trained> ranks = learn(read, 3);
  for (const Trained& rank : ranks) slots += rank.slots;
  EXPECT_EQ(slots, ranks.front().parameters.size());
}

TEST_F(RankedLearner, GivesAllRanksTheSameBits) {
  for (const char* zero : {"parallel.zero=0", "parallel.zero=1"}) {
    const std::vector<Trained> ranks = learn(recipe({"train.batch=6", zero}), 3);
    for (const auto& [name, value] : ranks[0].parameters) {
      EXPECT_TRUE(value.equal(ranks[1].parameters.at(name))) << name;
      EXPECT_TRUE(value.equal(ranks[2].parameters.at(name))) << name;
    }
  }
}

TEST_F(RankedLearner, StopsAllWhereOneIsTold) {
  const Recipe read = recipe({"train.batch=4"});
  run_local_ranks(2, kLimit, [&](Communicator& communicator) {
    Ranks ranks(communicator.split(0, "all"));
    ranks.arrange(mesh_of(read, 2));
    const auto task = make(plugins().registry().tasks, read.task, TaskPlace{.seed = 3});
    Learner learner(read, plugins().registry(), at::kCPU, {.ranks = &ranks});
    const DataPlan plan{.task = task.get(), .batch = 4, .rank = ranks.rank(), .ranks = 2};
    EXPECT_FALSE(learner.step(step_data(plan, 1), false).stopped);
    EXPECT_TRUE(learner.step(step_data(plan, 2), ranks.rank() == 1).stopped);
  });
}

TEST_F(RankedLearner, NamesWhatIsNotFiniteOnEveryRank) {
  try {
    learn(recipe({"model.mixers.mean.poison=true", "train.batch=4"}), 2);
    FAIL() << "nothing was thrown";
  } catch (const NotFinite& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("step 1: the loss is not finite"));
    EXPECT_THAT(failure.what(), HasSubstr("The first that went wrong is the output of blocks."));
  }
}

}  // namespace
}  // namespace echo
