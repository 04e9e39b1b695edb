#include "trainers/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using testing::HasSubstr;

ProgressFacts facts() {
  return {.step = 120000,
          .steps = 200000,
          .loss = 0.012345,
          .learning_rate = 2.9e-3,
          .tokens_per_second = 12345,
          .seconds_left = 36100};
}

TEST(Progress, NamesEverythingWhereThereIsRoom) {
  EXPECT_EQ(progress_text(facts(), 100),
            "step 120000/200000  loss 0.01235  rate 2.9e-03  12.3k tok/s  ETA 10h01m");
}

TEST(Progress, ShowsEveryFactOnATerminalOf60Columns) {
  const std::string text = progress_text(facts(), 59);
  EXPECT_LE(text.size(), 59u);
  EXPECT_EQ(text, "120000/200000 loss 0.01235 2.9e-03 12.3k tok/s ETA 10h01m");
}

TEST(Progress, KeepsStepAndLossOnANarrowTerminal) {
  EXPECT_EQ(progress_text(facts(), 40), "120000/200000 loss 0.01235 ETA 10h01m");
  EXPECT_EQ(progress_text(facts(), 30), "120000/200000 loss 0.01235");
  EXPECT_EQ(progress_text(facts(), 5), "12000");
}

TEST(Progress, HasADashForALossThatIsNotThere) {
  ProgressFacts without = facts();
  without.loss.reset();
  EXPECT_THAT(progress_text(without, 100), HasSubstr("loss -"));
}

}  // namespace
}  // namespace echo
