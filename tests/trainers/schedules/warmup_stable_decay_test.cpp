#include "trainers/schedules/warmup_stable_decay/warmup_stable_decay.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(WarmupStableDecay, HoldsThePeakBetweenRiseAndFall) {
  const WarmupStableDecay schedule({.warmup = 10, .decay = 20, .final_fraction = 0.1},
                                   {.steps = 100});
  EXPECT_DOUBLE_EQ(schedule.factor(1), 0.1);
  EXPECT_DOUBLE_EQ(schedule.factor(10), 1);
  EXPECT_DOUBLE_EQ(schedule.factor(80), 1);
  EXPECT_NEAR(schedule.factor(90), 0.55, 1e-12);
  EXPECT_NEAR(schedule.factor(100), 0.1, 1e-12);
}

TEST(WarmupStableDecay, FallsFasterAtFirstWithTheShapeRoot) {
  const WarmupStableDecay schedule({.decay = 100, .shape = DecayShape::root}, {.steps = 200});
  EXPECT_NEAR(schedule.factor(125), 0.5, 1e-12);
  EXPECT_NEAR(schedule.factor(200), 0, 1e-12);
}

TEST(WarmupStableDecay, DecaysOverAFifthOfTheRunByDefault) {
  WarmupStableDecayOptions options;
  options.complete({.steps = 50});
  EXPECT_EQ(options.decay, 10);
}

TEST(WarmupStableDecay, TakesTheLowerWhereRiseAndFallOverlap) {
  const WarmupStableDecay schedule({.warmup = 10, .decay = 10}, {.steps = 10});
  EXPECT_NEAR(schedule.factor(2), 0.2, 1e-12);
  EXPECT_NEAR(schedule.factor(8), 0.2, 1e-12);
}

}  // namespace
}  // namespace echo
