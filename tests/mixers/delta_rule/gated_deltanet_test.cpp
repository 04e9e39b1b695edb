#include "mixers/delta_rule/gated_deltanet.h"

#include "tests/mixers/conformance.h"

namespace echo {
namespace {

TEST(GatedDeltaNetTest, Conforms) {
  expect_conforms<GatedDeltaNet>(GatedDeltaNetOptions{{.heads = 3, .key_width = 8}});
}

TEST(GatedDeltaNetTest, ConformsWithMoreValueHeadsThanKeyHeads) {
  expect_conforms<GatedDeltaNet>(GatedDeltaNetOptions{
      {.heads = 2, .value_heads = 6, .key_width = 6, .value_width = 9, .kernel = 3}});
}

TEST(GatedDeltaNetTest, ConformsWithOddWidths) {
  expect_conforms<GatedDeltaNet>(
      GatedDeltaNetOptions{{.heads = 3, .key_width = 5, .value_width = 7}}, {.width = 15});
}

TEST(GatedDeltaNetTest, ConformsWithNegativeEigenvalues) {
  expect_conforms<GatedDeltaNet>(
      GatedDeltaNetOptions{{.heads = 2, .key_width = 8, .negative_eigenvalues = true}});
}

TEST(GatedDeltaNetTest, ConformsWithoutAConvolution) {
  expect_conforms<GatedDeltaNet>(GatedDeltaNetOptions{{.heads = 2, .key_width = 8, .kernel = 1}});
}

TEST(GatedDeltaNetTest, RefusesValueHeadsThatAreNoMultipleOfTheHeads) {
  EXPECT_EQ(refusal<GatedDeltaNetOptions>({{.heads = 4, .value_heads = 6}}, "value_heads"),
            "value_heads is 6, which is no multiple of the 4 heads of keys");
}

TEST(GatedDeltaNetTest, RefusesHeadsThatDoNotDivideTheWidth) {
  EXPECT_EQ(refusal<GatedDeltaNetOptions>({{.heads = 5}}, "heads"),
            "heads is 5, which does not divide the width 48; give key_width, or other heads");
}

}  // namespace
}  // namespace echo
