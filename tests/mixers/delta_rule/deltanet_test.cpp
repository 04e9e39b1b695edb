#include "mixers/delta_rule/deltanet.h"

#include "tests/mixers/conformance.h"

namespace echo {
namespace {

TEST(DeltaNetTest, Conforms) {
  expect_conforms<DeltaNet>(DeltaNetOptions{{.heads = 3, .key_width = 8}});
}

TEST(DeltaNetTest, ConformsWithAnOutputGate) {
  expect_conforms<DeltaNet>(
      DeltaNetOptions{{.heads = 2, .key_width = 6, .value_width = 9}, /*output_gate=*/true});
}

TEST(DeltaNetTest, ConformsWithNegativeEigenvalues) {
  expect_conforms<DeltaNet>(
      DeltaNetOptions{{.heads = 3, .key_width = 5, .kernel = 2, .negative_eigenvalues = true}},
      {.width = 15});
}

}  // namespace
}  // namespace echo
