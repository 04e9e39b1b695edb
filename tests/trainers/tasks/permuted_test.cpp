#include "trainers/tasks/shared/permuted.h"

#include "tests/trainers/tasks/chi_square.h"

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace echo {

namespace {

std::vector<int64_t> order(int64_t size, uint64_t seed) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < size; ++i) places.push_back(permuted(i, size, seed));
  return places;
}

TEST(Permuted, GivesEveryPlaceOnce) {
  for (const int64_t size : {1, 2, 3, 4, 5, 16, 17, 100, 4096, 5000}) {
    const std::vector<int64_t> places = order(size, 7);
    const std::set<int64_t> distinct(places.begin(), places.end());
    EXPECT_EQ(static_cast<int64_t>(distinct.size()), size);
    EXPECT_EQ(*distinct.begin(), 0);
    EXPECT_EQ(*distinct.rbegin(), size - 1);
  }
}

TEST(Permuted, IsAnotherOrderForAnotherSeed) {
  EXPECT_EQ(order(50, 1), order(50, 1));
  EXPECT_NE(order(50, 1), order(50, 2));
}

TEST(Permuted, SendsAnIndexToEveryPlaceEquallyOften) {
  constexpr int64_t kSize = 10;
  constexpr uint64_t kSeeds = 10000;
  std::map<int64_t, int64_t> counts;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) ++counts[permuted(3, kSize, seed)];
  EXPECT_TRUE(testing::looks_uniform(counts, kSize));
}

TEST(Permuted, TakesSizesBeyond32Bits) {
  const int64_t size = (int64_t{1} << 40) + 3;
  std::set<int64_t> places;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t place = permuted(size - 1 - i, size, 5);
    EXPECT_GE(place, 0);
    EXPECT_LT(place, size);
    places.insert(place);
  }
  EXPECT_EQ(places.size(), 1000u);
}

}  // namespace

}  // namespace echo
