#include "trainers/schedules/cosine/cosine.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(Cosine, RisesLinearlyToThePeakAtTheEndOfTheWarmup) {
  const Cosine cosine({.warmup = 10}, {.steps = 110});
  EXPECT_DOUBLE_EQ(cosine.factor(1), 0.1);
  EXPECT_DOUBLE_EQ(cosine.factor(5), 0.5);
  EXPECT_DOUBLE_EQ(cosine.factor(10), 1.0);
}

TEST(Cosine, FallsAlongHalfACosineToItsFinalFraction) {
  const Cosine cosine({.warmup = 10, .final_fraction = 0.2}, {.steps = 110});
  EXPECT_NEAR(cosine.factor(35), 0.2 + 0.8 * 0.85355339, 1e-8);  // a quarter: (1 + cos 45 deg) / 2
  EXPECT_NEAR(cosine.factor(60), 0.6, 1e-12);
  EXPECT_NEAR(cosine.factor(110), 0.2, 1e-12);
}

TEST(Cosine, EndsAtZeroByDefaultAndNeedsNoWarmup) {
  const Cosine cosine({}, {.steps = 4});
  EXPECT_NEAR(cosine.factor(2), 0.5, 1e-12);
  EXPECT_NEAR(cosine.factor(4), 0, 1e-12);
  EXPECT_NEAR(cosine.factor(5), 0, 1e-12);
}

TEST(Cosine, OfARunShorterThanItsWarmupOnlyRises) {
  const Cosine cosine({.warmup = 100}, {.steps = 10});
  EXPECT_DOUBLE_EQ(cosine.factor(10), 0.1);
}

}  // namespace
}  // namespace echo
