#include "trainers/stop_signal.h"

#include <csignal>
#include <cstdlib>

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(StopSignal, RemembersTheFirstSignal) {
  StopSignal stop;
  EXPECT_FALSE(stop.requested());
  EXPECT_STREQ(stop.name(), "");
  std::raise(SIGTERM);
  EXPECT_TRUE(stop.requested());
  EXPECT_STREQ(stop.name(), "SIGTERM");
}

TEST(StopSignal, ForgetsWhatAnotherOneSaw) {
  {
    StopSignal stop;
    std::raise(SIGINT);
    EXPECT_STREQ(stop.name(), "SIGINT");
  }
  EXPECT_FALSE(StopSignal().requested());
}

TEST(StopSignalDeathTest, TheSecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopSignal stop;
        std::raise(SIGINT);
        std::raise(SIGINT);
        std::exit(0);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignalDeathTest, SignalsEndTheProcessWhenNobodyListensAnyMore) {
  EXPECT_EXIT(
      {
        { StopSignal stop; }
        std::raise(SIGTERM);
        std::exit(0);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace echo
