#include "trainers/step_data.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::HasSubstr;
using namespace testing_run;

struct StepDataTest : testing::Test {
  void TearDown() override { on_batch = nullptr; }
  RepeatOptions options{.unlabelled = 5, .padded = true};
  Repeat task{options, {.seed = 7}};
  DataPlan plan(int64_t accumulation) {
    return {.task = &task, .batch = 10, .accumulation = accumulation};
  }
};

TEST_F(StepDataTest, PartsHoldTheSamplesOfTheStepInOrder) {
  const StepData whole = step_data(plan(1), 3);
  const StepData parts = step_data(plan(3), 3);
  ASSERT_EQ(parts.parts.size(), 3u);
  std::vector<at::Tensor> inputs;
  int64_t next = 20;
  for (const StepData::Part& part : parts.parts) {
    EXPECT_EQ(part.first_sample, next);
    next += part.batch.batch.inputs.size(0);
    inputs.push_back(part.batch.batch.inputs);
  }
  EXPECT_EQ(next, 30);
  EXPECT_TRUE(at::cat(inputs).equal(whole.parts[0].batch.batch.inputs));
  EXPECT_TRUE(whole.parts[0].batch.batch.inputs.equal(task.batch(Split::train, 20, 10).inputs));
}

TEST_F(StepDataTest, CountsScoredPositionsAndValidTokens) {
  const Batch batch = task.batch(Split::train, 0, 10);
  const StepData data = step_data(plan(4), 1);
  EXPECT_EQ(data.scored, batch.labels.ne(-100).sum().item<int64_t>());
  EXPECT_EQ(data.tokens, batch.lengths.sum().item<int64_t>());
  double share = 0;
  for (const StepData::Part& part : data.parts) share += part.share;
  EXPECT_NEAR(share, 1, 1e-12);
}

TEST_F(StepDataTest, RanksShareSamplesAndTokens) {
  const StepData whole = step_data(plan(1), 3);
  std::vector<at::Tensor> rows;
  for (int64_t rank = 0; rank < 3; ++rank) {
    std::vector<at::Tensor> tokens;
    for (int64_t part = 0; part < 2; ++part) {
      DataPlan share = plan(1);
      share.rank = rank;
      share.ranks = 3;
      share.sequence_rank = part;
      share.sequence_ranks = 2;
      tokens.push_back(step_data(share, 3).parts[0].batch.batch.inputs);
    }
    rows.push_back(at::cat(tokens, 1));
  }
  EXPECT_TRUE(at::cat(rows).equal(whole.parts[0].batch.batch.inputs));
}

TEST_F(StepDataTest, PrefetchGivesTheStepsInOrder) {
  Prefetch prefetch(plan(2), 4, 9);
  for (int64_t step = 4; step <= 9; ++step) {
    const StepData data = prefetch.next();
    EXPECT_EQ(data.step, step);
    EXPECT_TRUE(data.parts[0].batch.batch.inputs.equal(
        step_data(plan(2), step).parts[0].batch.batch.inputs));
  }
}

TEST_F(StepDataTest, PrefetchHandsOnWhatATaskThrowsAfterTheStepsBeforeIt) {
  on_batch = [](Split, int64_t first) {
    if (first == 20) throw Error("the text is gone");
  };
  Prefetch prefetch(plan(1), 1, 9);
  EXPECT_EQ(prefetch.next().step, 1);
  EXPECT_EQ(prefetch.next().step, 2);
  EXPECT_EQ(message_of<Error>([&] { prefetch.next(); }), "the text is gone");
}

TEST_F(StepDataTest, PrefetchCanBeLeftInTheMiddle) {
  Prefetch prefetch(plan(1), 1, 1000000);
  EXPECT_EQ(prefetch.next().step, 1);
}

}  // namespace
}  // namespace echo
