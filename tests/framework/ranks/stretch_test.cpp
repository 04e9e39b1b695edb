#include "framework/src/ranks/local_communicator.h"
#include "framework/src/ranks/rank_stretch.h"

#include <cmath>
#include <functional>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

constexpr double kTimeLimit = 20;

Offsets no_starts(int64_t batch) { return host_offsets({}, {}, batch, 0); }

// Calls body with the stretch of every rank, over rows of `length` tokens.
void on_ranks(int64_t count, const Offsets& offsets, int64_t length,
              const std::function<void(RankStretch&, Communicator&)>& body) {
  run_local_ranks(count, kTimeLimit, [&](Communicator& ranks) {
    RankStretch stretch(ranks, part_of(offsets, length, ranks.rank(), count));
    body(stretch, ranks);
  });
}

TEST(PartTest, TakesTokensInOrder) {
  const Offsets offsets = no_starts(1);
  int64_t sum = 0;
  for (int64_t rank = 0; rank < 4; ++rank) {
    const SequencePart part = part_of(offsets, 10, rank, 4);
    EXPECT_EQ(part.first(), sum);
    sum += part.count();
  }
  EXPECT_EQ(sum, 10);
}

TEST(PartTest, KnowsTheDocumentThatItGoesOnWith) {
  Offsets offsets = no_starts(3);
  offsets.starts = {{0, 3}, {5}, {}};  // parts are [0, 5) and [5, 10)
  const SequencePart part = part_of(offsets, 10, 1, 2);
  EXPECT_TRUE(at::equal(part.position, at::tensor(std::vector<int64_t>{2, 5, 5})));
  EXPECT_EQ(part.longest, 5);
  const at::Tensor unbroken = at::tensor(std::vector<int64_t>{0, 1, 1, 1, 0, 1}).view({2, 3});
  EXPECT_TRUE(at::equal(part.unbroken, unbroken.to(at::kBool)));
  EXPECT_FALSE(part_of(no_starts(3), 10, 1, 2).unbroken.defined());
}

TEST(PartTest, RefusesFewerTokensThanRanks) {
  try {
    part_of(no_starts(1), 3, 0, 4);
    FAIL() << "three tokens for four ranks";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "sequences of 3 tokens cannot be shared by 4 ranks: each needs a token of its "
                 "own; lower parallel.sequence");
  }
}

TEST(StretchTest, GatherGivesAllPartsAndSumsTheirGradients) {
  on_ranks(3, no_starts(1), 9, [](RankStretch& stretch, Communicator&) {
    const at::Tensor part = at::full({2}, stretch.rank() + 1.0).requires_grad_(true);
    const at::Tensor all = stretch.gather(part, "numbers").finish();
    EXPECT_TRUE(at::equal(all, at::tensor({1.0f, 1.0f, 2.0f, 2.0f, 3.0f, 3.0f}).view({3, 2})));
    // Rank r weighs part p with 10 r + p.
    const at::Tensor weights = (at::arange(3, at::kFloat) + 10.0 * stretch.rank()).unsqueeze(1);
    stretch.tied((all * weights).sum()).backward();
    EXPECT_TRUE(at::equal(part.grad(), at::full({2}, 30.0 + 3 * stretch.rank())));
  });
}

TEST(StretchTest, ARankThatReadsNothingTakesPartInTheBackwardPass) {
  on_ranks(2, no_starts(1), 8, [](RankStretch& stretch, Communicator&) {
    const at::Tensor part = at::ones({2}).requires_grad_(true);
    const at::Tensor before = stretch.prefix_sum(part, "a sum").finish();
    const at::Tensor own = part * 2;
    stretch.tied(stretch.rank() == 0 ? own : own + before).sum().backward();
    EXPECT_TRUE(at::equal(part.grad(), at::full({2}, stretch.rank() == 0 ? 3.0 : 2.0)));
  });
}

TEST(StretchTest, ExchangesRunBackwardInTheReverseOrderWhateverTheRanksRead) {
  on_ranks(3, no_starts(1), 9, [](RankStretch& stretch, Communicator&) {
    const at::Tensor a = at::ones({1, 2}).requires_grad_(true);
    const at::Tensor b = at::ones({1, 3}).requires_grad_(true);
    Arrival first = stretch.prefix_sum(a, "a"), second = stretch.prefix_sum(b, "b");
    at::Tensor y = a.sum() * 0;
    if (stretch.rank() % 2 == 1) {  // finished in one order, used in another
      const at::Tensor sum_b = second.finish(), sum_a = first.finish();
      y = sum_a.sum() + sum_b.sum();
    } else {
      const at::Tensor sum_b = second.finish(), sum_a = first.finish();
      y = sum_b.sum() * 2 + sum_a.sum() * 3;
    }
    stretch.tied(y).backward();
    const float of_a[] = {4, 3, 0}, of_b[] = {3, 2, 0};
    const auto rank = static_cast<size_t>(stretch.rank());
    EXPECT_TRUE(at::equal(a.grad(), at::full({1, 2}, of_a[rank])));
    EXPECT_TRUE(at::equal(b.grad(), at::full({1, 3}, of_b[rank])));
  });
}

TEST(StretchTest, PrefixSumBeginsAnewAfterAPartInWhichADocumentBegins) {
  Offsets offsets = no_starts(2);
  offsets.starts = {{4}, {}};  // in part 1 of row 0
  on_ranks(4, offsets, 12, [](RankStretch& stretch, Communicator&) {
    const at::Tensor part = at::full({2, 1}, std::pow(10.0, stretch.rank()));
    const at::Tensor sum = stretch.prefix_sum(part, "a sum").finish();
    const float first[] = {0, 1, 10, 110}, second[] = {0, 1, 11, 111};
    const auto rank = static_cast<size_t>(stretch.rank());
    EXPECT_EQ(sum[0].item<float>(), first[rank]);
    EXPECT_EQ(sum[1].item<float>(), second[rank]);
  });
}

TEST(StretchTest, PrefixComposeAppliesTheTransitionsOfThePartsBetween) {
  on_ranks(3, no_starts(1), 9, [](RankStretch& stretch, Communicator&) {
    const at::Tensor state = at::full({1, 1, 2, 2}, 1.0 + stretch.rank());
    at::Tensor rows = at::tensor({2.0f, 3.0f}).view({1, 1, 2});
    const at::Tensor scalar = at::full({1, 1}, 2.0);
    const at::Tensor dense = at::tensor({0.0f, 1.0f, 1.0f, 0.0f}).view({1, 1, 2, 2});
    const at::Tensor a = stretch.prefix_compose(scalar, state, "scalar").finish();
    const at::Tensor b = stretch.prefix_compose(rows, state, "rows").finish();
    const at::Tensor c = stretch.prefix_compose(dense, state * rows.unsqueeze(3), "dense").finish();
    if (stretch.rank() != 2) return;
    EXPECT_TRUE(at::equal(a, at::full({1, 1, 2, 2}, 4.0)));
    EXPECT_TRUE(at::equal(b.select(3, 0), at::tensor({4.0f, 5.0f}).view({1, 1, 2})));
    EXPECT_TRUE(at::equal(c.select(3, 0), at::tensor({7.0f, 8.0f}).view({1, 1, 2})));
  });
}

TEST(StretchTest, HaloReachesOverShortPartsAndEndsAtTheDocument) {
  Offsets offsets = no_starts(2);
  offsets.starts = {{}, {2}};
  on_ranks(4, offsets, 5, [](RankStretch& stretch, Communicator&) {  // parts 1, 1, 1, 2
    const at::Tensor row = at::arange(1, 6, at::kFloat)
                               .narrow(0, stretch.tokens_before(), stretch.length(stretch.rank()));
    const at::Tensor tokens = at::stack({row, row});
    const at::Tensor before = stretch.halo(tokens, 3, "tokens").finish();
    const at::Tensor first = at::tensor({0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 2, 3}).view({4, 3});
    const at::Tensor second = at::tensor({0, 0, 0, 0, 0, 1, 0, 1, 2, 0, 0, 3}).view({4, 3});
    EXPECT_TRUE(at::equal(before[0], first[stretch.rank()].to(at::kFloat)));
    EXPECT_TRUE(at::equal(before[1], second[stretch.rank()].to(at::kFloat)));
  });
}

TEST(StretchTest, SendsItsPartToTheOthersOnceInEachDirection) {
  on_ranks(3, no_starts(1), 9, [](RankStretch& stretch, Communicator& ranks) {
    const at::Tensor part = at::ones({5}, at::kDouble).requires_grad_(true);
    const at::Tensor all = stretch.gather(part, "numbers").finish();
    EXPECT_EQ(ranks.bytes_sent(), 2 * 5 * 8);
    stretch.tied(all.sum()).backward();
    EXPECT_EQ(ranks.bytes_sent(), 2 * 2 * 5 * 8);
  });
}

TEST(StretchTest, FailsNamingTheRankThatDoesNotCome) {
  auto ranks = local_ranks(2, kTimeLimit);
  ranks[1].reset();
  RankStretch stretch(*ranks[0], part_of(no_starts(1), 8, 0, 2));
  Arrival arrival = stretch.gather(at::ones({1}), "keys");
  try {
    arrival.finish();
    FAIL() << "nobody came";
  } catch (const RanksFailed& failure) {
    EXPECT_STREQ(failure.what(), "rank 1 left before 'exchange 0 of a sequence (keys)'");
  }
}

}  // namespace
}  // namespace echo
