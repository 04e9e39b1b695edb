#include "trainers/schedules/constant/constant.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(Constant, StaysAtThePeakAfterTheWarmup) {
  const Constant constant({.warmup = 4}, {.steps = 100});
  EXPECT_DOUBLE_EQ(constant.factor(1), 0.25);
  EXPECT_DOUBLE_EQ(constant.factor(4), 1);
  EXPECT_DOUBLE_EQ(constant.factor(100), 1);
  EXPECT_DOUBLE_EQ(Constant({}, {.steps = 1}).factor(1), 1);
}

}  // namespace
}  // namespace echo
