#include "trainers/tasks/shared/synthetic.h"

#include "tests/trainers/tasks/chi_square.h"

#include <map>
#include <set>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {

namespace {

using testing::looks_uniform;

constexpr Alphabet kAlphabet{128};

TEST(Alphabet, HasDisjointPoolsThatUseAllIds) {
  EXPECT_EQ(kAlphabet.first_key(), 16);
  EXPECT_EQ(kAlphabet.first_value(), 48);
  EXPECT_EQ(kAlphabet.first_filler(), 80);
  EXPECT_EQ(kAlphabet.fillers(), 48);
  EXPECT_EQ(Alphabet{64}.fillers(), 16);
}

TEST(Alphabet, NamesItsTokens) {
  EXPECT_EQ(kAlphabet.name(1), "Q");
  EXPECT_EQ(kAlphabet.name(9), "r9");
  EXPECT_EQ(kAlphabet.name(16), "k0");
  EXPECT_EQ(kAlphabet.name(49), "v1");
  EXPECT_EQ(kAlphabet.name(127), "f47");
}

TEST(Draw, IsAFunctionOfItsSeed) {
  EXPECT_EQ(Draw(kAlphabet, 5).filler(20), Draw(kAlphabet, 5).filler(20));
  EXPECT_NE(Draw(kAlphabet, 5).filler(20), Draw(kAlphabet, 6).filler(20));
}

TEST(Draw, TakesNumbersUniformly) {
  Draw draw(kAlphabet, 1);
  std::map<int64_t, int64_t> counts;
  for (int i = 0; i < 7000; ++i) ++counts[draw.below(7)];
  EXPECT_TRUE(looks_uniform(counts, 7));
}

TEST(Draw, ChoosesDistinctIdsOfEachPool) {
  Draw draw(kAlphabet, 1);
  const std::vector<int64_t> keys = draw.keys(32);
  const std::vector<int64_t> values = draw.values(32);
  EXPECT_EQ(std::set<int64_t>(keys.begin(), keys.end()).size(), 32u);
  EXPECT_EQ(std::set<int64_t>(values.begin(), values.end()).size(), 32u);
  for (const int64_t key : keys) EXPECT_TRUE(key >= 16 && key < 48);
  for (const int64_t value : values) EXPECT_TRUE(value >= 48 && value < 80);
  for (const int64_t id : draw.filler(500)) EXPECT_TRUE(id >= 80 && id < 128);
}

TEST(Draw, ChoosesEveryOrderedPairEquallyOften) {
  std::map<std::vector<int64_t>, int64_t> counts;
  for (uint64_t seed = 0; seed < 12000; ++seed) ++counts[Draw(kAlphabet, seed).choose(4, 2)];
  EXPECT_TRUE(looks_uniform(counts, 12));
}

TEST(Draw, ScattersBlocksInOrderAndWithoutOverlap) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<int64_t> starts = Draw(kAlphabet, seed).scatter({3, 1, 2}, 10);
    EXPECT_GE(starts[0], 0);
    EXPECT_GE(starts[1], starts[0] + 3);
    EXPECT_GE(starts[2], starts[1] + 1);
    EXPECT_LE(starts[2], 8);
  }
}

TEST(Draw, ScattersEveryLayoutEquallyOften) {
  std::map<std::vector<int64_t>, int64_t> counts;
  for (uint64_t seed = 0; seed < 10000; ++seed) ++counts[Draw(kAlphabet, seed).scatter({2, 1}, 6)];
  EXPECT_TRUE(looks_uniform(counts, 10));  // 2 of 5 units
}

TEST(Draw, FillsAllCellsWhenBlocksLeaveNoneFree) {
  EXPECT_EQ(Draw(kAlphabet, 3).scatter({2, 3}, 5), (std::vector<int64_t>{0, 2}));
}

TEST(Draw, MergesEveryInterleavingEquallyOften) {
  std::map<std::vector<int64_t>, int64_t> counts;
  for (uint64_t seed = 0; seed < 10000; ++seed) ++counts[Draw(kAlphabet, seed).merge({2, 3})];
  EXPECT_TRUE(looks_uniform(counts, 10));
}

TEST(SyntheticBatch, MarksAllBeforeTheFirstQueryAsPrefix) {
  const Batch batch = synthetic_batch(3, 2, [](int64_t index) {
    Sample sample;
    sample.add({16, 48, 80});
    sample.add(token::kQuery);
    sample.add(16, 40 + index);
    return sample;
  });
  EXPECT_EQ(batch.labels[1][4].item<int64_t>(), 44);
  EXPECT_EQ(batch.labels[1][3].item<int64_t>(), -100);
  EXPECT_TRUE(batch.prefix.slice(1, 0, 3).all().item<bool>());
  EXPECT_FALSE(batch.prefix.slice(1, 3).any().item<bool>());
}

TEST(SyntheticBatch, IsShownByTheNamesOfItsTokens) {
  const Batch batch = synthetic_batch(0, 1, [](int64_t) {
    Sample sample;
    sample.add({token::kSet, 16, 49, 80, 81, 82, 17, 80});
    sample.add(token::kQuery);
    sample.add(16, 49);
    return sample;
  });
  EXPECT_EQ(show_synthetic(kAlphabet, batch, 0), "SET k0→v1 …3… k1 …1… Q k0?→v1");
}

}  // namespace

}  // namespace echo
