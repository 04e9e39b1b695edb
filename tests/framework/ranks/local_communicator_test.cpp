#include "framework/src/ranks/local_communicator.h"

#include <functional>
#include <stdexcept>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

constexpr double kTimeLimit = 20;

at::Tensor numbers(std::vector<double> values, at::ScalarType dtype = at::kFloat) {
  return at::tensor(values, at::kDouble).to(dtype);
}

// Runs body on three ranks; what it says of a rank is the message.
void on_three(const std::function<void(Communicator&)>& body) {
  run_local_ranks(3, kTimeLimit, body);
}

TEST(LocalCommunicatorTest, AllReduceSumsOnEveryRank) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong}) {
    on_three([&](Communicator& ranks) {
      const double rank = static_cast<double>(ranks.rank());
      const at::Tensor tensor = numbers({rank, 10 * rank}, dtype);
      ranks.all_reduce(tensor, "sum")->wait();
      EXPECT_TRUE(at::equal(tensor, numbers({3, 30}, dtype))) << dtype;
    });
  }
}

TEST(LocalCommunicatorTest, SumsRunInTheOrderOfTheRanks) {
  const auto expected = (numbers({1e8}) + numbers({1})) + numbers({-1e8});
  for (int repeat = 0; repeat < 20; ++repeat) {
    on_three([&](Communicator& ranks) {
      const std::vector<double> own = {1e8, 1, -1e8};
      const at::Tensor tensor = numbers({own[static_cast<size_t>(ranks.rank())]});
      ranks.all_reduce(tensor, "sum")->wait();
      EXPECT_TRUE(at::equal(tensor, expected));
    });
  }
}

TEST(LocalCommunicatorTest, ReduceScatterLeavesTheOwnShareOfTheSum) {
  on_three([](Communicator& ranks) {
    const at::Tensor whole = numbers({1, 2, 3, 4, 5, 6});
    const Shares shares = {1, 3, 2};
    ranks.reduce_scatter(whole, shares, "gradients")->wait();
    const int64_t first[] = {0, 1, 4};
    const auto rank = static_cast<size_t>(ranks.rank());
    EXPECT_TRUE(at::equal(whole.narrow(0, first[rank], shares[rank]),
                          numbers({1, 2, 3, 4, 5, 6}).narrow(0, first[rank], shares[rank]) * 3));
  });
}

TEST(LocalCommunicatorTest, AllGatherCollectsTheShares) {
  on_three([](Communicator& ranks) {
    const at::Tensor whole = at::zeros({6});
    const Shares shares = {1, 3, 2};
    const int64_t first[] = {0, 1, 4};
    const auto rank = static_cast<size_t>(ranks.rank());
    whole.narrow(0, first[rank], shares[rank]).fill_(ranks.rank() + 1);
    ranks.all_gather(whole, shares, "parts")->wait();
    EXPECT_TRUE(at::equal(whole, numbers({1, 2, 2, 2, 3, 3})));
  });
}

TEST(LocalCommunicatorTest, BroadcastSendsTheRootsTensor) {
  on_three([](Communicator& ranks) {
    const at::Tensor tensor = numbers({static_cast<double>(ranks.rank())});
    ranks.broadcast(tensor, 2, "seed")->wait();
    EXPECT_TRUE(at::equal(tensor, numbers({2})));
  });
}

TEST(LocalCommunicatorTest, OperationsMayBeWaitedForInAnyOrder) {
  on_three([](Communicator& ranks) {
    const at::Tensor first = numbers({1}), second = numbers({2});
    auto one = ranks.all_reduce(first, "one");
    auto two = ranks.all_reduce(second, "two");
    two->wait();
    one->wait();
    EXPECT_TRUE(at::equal(first, numbers({3})));
    EXPECT_TRUE(at::equal(second, numbers({6})));
  });
}

TEST(LocalCommunicatorTest, SplitJoinsTheRanksOfAColour) {
  run_local_ranks(4, kTimeLimit, [](Communicator& ranks) {
    const auto part = ranks.split(ranks.rank() % 2, "columns");
    EXPECT_EQ(part->size(), 2);
    EXPECT_EQ(part->rank(), ranks.rank() / 2);
    const at::Tensor tensor = numbers({static_cast<double>(ranks.rank())});
    part->all_reduce(tensor, "sum")->wait();
    EXPECT_TRUE(at::equal(tensor, numbers({ranks.rank() % 2 == 0 ? 2.0 : 4.0})));
  });
}

TEST(LocalCommunicatorTest, CountsTheBytesOfARing) {
  on_three([](Communicator& ranks) {
    ranks.all_gather(at::zeros({6}), {1, 3, 2}, "parts")->wait();
    EXPECT_EQ(ranks.bytes_sent(), 6 * 4 * 2 / 3);
    ranks.all_reduce(at::zeros({6}), "sum")->wait();
    EXPECT_EQ(ranks.bytes_sent(), 6 * 4 * 2 / 3 * 3);
  });
}

// What a wait for an operation says.
template <class F>
std::string failure_of(F&& work) {
  try {
    work();
  } catch (const RanksFailed& failure) {
    return failure.what();
  }
  return "";
}

TEST(LocalCommunicatorTest, NamesTheRankThatDoesNotComeInTime) {
  const auto ranks = local_ranks(2, 0.1);
  EXPECT_THAT(failure_of([&] { ranks[0]->all_reduce(at::zeros({1}), "gradients 3")->wait(); }),
              ::testing::StartsWith("rank 1 did not come to 'gradients 3' within 0.1"));
}

TEST(LocalCommunicatorTest, NamesTheRankThatHasLeft) {
  auto ranks = local_ranks(3, kTimeLimit);
  ranks[1].reset();
  EXPECT_EQ(failure_of([&] { ranks[0]->all_reduce(at::zeros({1}), "gradients 3")->wait(); }),
            "rank 1 left before 'gradients 3'");
}

TEST(LocalCommunicatorTest, NamesTheOperationsThatDoNotMatch) {
  const auto ranks = local_ranks(2, kTimeLimit);
  const auto first = ranks[0]->all_reduce(at::zeros({1}), "gradients 3");
  const auto second = ranks[1]->all_reduce(at::zeros({1}), "loss");
  EXPECT_EQ(failure_of([&] { first->wait(); }), "rank 1 came with 'loss' to 'gradients 3'");
  EXPECT_EQ(failure_of([&] { second->wait(); }), "rank 1 came with 'loss' to 'gradients 3'");
}

TEST(LocalCommunicatorTest, RethrowsTheFailureThatCausedTheOthers) {
  try {
    on_three([](Communicator& ranks) {
      if (ranks.rank() == 1) throw std::runtime_error("out of luck");
      barrier(ranks, "start");
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& failure) {
    EXPECT_STREQ(failure.what(), "out of luck");
  }
}

}  // namespace
}  // namespace echo
