#include "mixers/mamba3/mamba3.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>

namespace echo {
namespace {

using Activation = Mamba3Options::Activation;

TEST(Mamba3Test, Conforms) {
  expect_conforms<Mamba3>(Mamba3Options{.head_width = 16, .state = 12});
}

TEST(Mamba3Test, ConformsWithGroupsAndTheOlderDecay) {
  expect_conforms<Mamba3>(Mamba3Options{.head_width = 16,
                                        .state = 6,
                                        .groups = 2,
                                        .rope_fraction = 1,
                                        .a_activation = Activation::softplus});
}

TEST(Mamba3Test, ConformsWithSeveralInputsPerToken) {
  expect_conforms<Mamba3>(Mamba3Options{.head_width = 16, .state = 8, .groups = 2, .mimo_rank = 3});
}

TEST(Mamba3Test, ConformsWithOddWidthsAndANorm) {
  expect_conforms<Mamba3>(
      Mamba3Options{
          .expand = 3, .head_width = 5, .state = 6, .rope_fraction = 1, .output_norm = true},
      {.width = 15});
  expect_conforms<Mamba3>(
      Mamba3Options{.head_width = 8, .state = 4, .mimo_rank = 2, .output_norm = true});
}

TEST(Mamba3Test, RefusesWidthsThatDoNotFit) {
  EXPECT_EQ(refusal<Mamba3Options>({.head_width = 64}, "head_width"),
            "head_width 64 does not divide the inner width 96 (2 x 48); choose a divisor of it");
  EXPECT_EQ(refusal<Mamba3Options>({.head_width = 16, .groups = 4}, "groups"),
            "groups is 4, which does not divide the 6 heads (inner width 96 / head_width 16)");
  EXPECT_EQ(refusal<Mamba3Options>({.head_width = 16, .state = 5}, "state"),
            "state is 5; pairs turn, so it must be even");
  EXPECT_EQ(refusal<Mamba3Options>({.head_width = 16, .state = 6}, "state"),
            "state is 6; with rope_fraction 0.5 half of its pairs turn, so it must be a multiple "
            "of 4");
  EXPECT_EQ(refusal<Mamba3Options>({.head_width = 16, .rope_fraction = 0.7}, "rope_fraction"),
            "rope_fraction is 0.5 or 1: the share of the state that turns");
}

}  // namespace
}  // namespace echo
