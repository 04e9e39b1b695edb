#include "mixers/delta_rule/kda.h"

#include "tests/mixers/conformance.h"

namespace echo {
namespace {

TEST(KdaTest, Conforms) { expect_conforms<Kda>(KdaOptions{{.heads = 3, .key_width = 8}}); }

TEST(KdaTest, ConformsWithAFloorUnderItsDecays) {
  expect_conforms<Kda>(
      KdaOptions{{.heads = 2, .key_width = 6, .value_width = 9}, /*gate_floor=*/-5});
}

TEST(KdaTest, ConformsWithMoreValueHeadsThanKeyHeadsAndNoBias) {
  expect_conforms<Kda>(
      KdaOptions{{.heads = 2, .value_heads = 4, .key_width = 5, .value_width = 7, .kernel = 3},
                 /*gate_floor=*/std::nullopt,
                 /*gate_bias=*/false},
      {.width = 15});
}

TEST(KdaTest, ConformsWithNegativeEigenvalues) {
  expect_conforms<Kda>(KdaOptions{{.heads = 2, .key_width = 8, .negative_eigenvalues = true}});
}

}  // namespace
}  // namespace echo
