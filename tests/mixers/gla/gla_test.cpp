#include "mixers/gla/gla.h"

#include "tests/mixers/conformance.h"

namespace echo {
namespace {

TEST(GlaTest, Conforms) { expect_conforms<Gla>(GlaOptions{.gate_rank = 4}); }

TEST(GlaTest, ConformsWithSharedKeys) {
  expect_conforms<Gla>(
      GlaOptions{.heads = 6, .kv_heads = 2, .key_width = 5, .value_width = 7, .gate_rank = 3});
}

TEST(GlaTest, ConformsWithStrongDecaysAndAFloor) {
  expect_conforms<Gla>(GlaOptions{.heads = 3,
                                  .key_width = 4,
                                  .value_width = 5,
                                  .gate_normalizer = 0.5,
                                  .gate_rank = 2,
                                  .gate_floor = -2},
                       {.width = 15});
}

TEST(GlaTest, RefusesSharedKeysThatDoNotDivideTheHeads) {
  EXPECT_EQ(refusal<GlaOptions>({.heads = 4, .kv_heads = 3}, "kv_heads"),
            "kv_heads is 3, which does not divide the 4 heads");
}

TEST(GlaTest, RefusesHeadsThatDoNotDivideTheWidth) {
  EXPECT_EQ(refusal<GlaOptions>({.heads = 5}, "heads"),
            "heads is 5, which does not divide 24; give key_width, or other heads");
}

}  // namespace
}  // namespace echo
