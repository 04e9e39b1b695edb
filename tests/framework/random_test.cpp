#include <echo/random.h>

#include <set>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(RandomTest, IsTheSameOnEveryMachine) {
  EXPECT_EQ(derive_seed(0, "test"), derive_seed(0, "test", 0));
  at::Generator stream = generator(123, "test", 4);
  EXPECT_EQ(stream.current_seed(), derive_seed(123, "test", 4));
}

TEST(RandomTest, EveryCoordinateChangesTheStream) {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const char* purpose : {"a", "b", "ab", "ba", ""}) {
      for (uint64_t index = 0; index < 20; ++index) seeds.insert(derive_seed(seed, purpose, index));
    }
  }
  EXPECT_EQ(seeds.size(), 20u * 5u * 20u);
}

}  // namespace
}  // namespace echo
