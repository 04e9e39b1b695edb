#include "trainers/stop_signal.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <thread>

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

TEST(StopSignal, RemembersWhatMpirunHandsOn) {
  StopSignal stop;
  std::raise(SIGUSR1);
  EXPECT_STREQ(stop.name(), "SIGUSR1");
}

TEST(GraceLimit, GivesUpOnlyAfterASignal) {
  StopSignal stop;
  std::promise<void> given_up;
  std::future<void> wait = given_up.get_future();
  {
    const GraceLimit nobody(stop, 0.05, [] { ADD_FAILURE() << "there was no signal"; });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const GraceLimit grace(stop, 0.05, [&] { given_up.set_value(); });
  std::raise(SIGTERM);
  EXPECT_EQ(wait.wait_for(std::chrono::seconds(60)), std::future_status::ready);
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
