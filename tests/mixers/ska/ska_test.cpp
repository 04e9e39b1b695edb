#include "mixers/ska/ska.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>

namespace echo {
namespace {

TEST(SkaTest, Conforms) { expect_conforms<Ska>(SkaOptions{.heads = 2, .rank = 6}); }

TEST(SkaTest, ConformsAtPowerZero) {
  expect_conforms<Ska>(SkaOptions{.heads = 2, .rank = 6, .power = 0});
}

TEST(SkaTest, ConformsWithEveryOption) {
  expect_conforms<Ska>(SkaOptions{.heads = 2,
                                  .rank = 6,
                                  .value_width = 5,
                                  .power = 2,
                                  .beta = SkaOptions::Beta::fixed,
                                  .beta_value = 0.5,
                                  .read_gate = true,
                                  .value_lag = true,
                                  .gamma = 1.1,
                                  .learn_gamma = true});
}

TEST(SkaTest, ConformsInModePrefix) {
  expect_conforms<Ska>(SkaOptions{.heads = 2,
                                  .rank = 6,
                                  .power = 2,
                                  .normalisation = SkaOptions::Normalisation::sequence_max,
                                  .beta = SkaOptions::Beta::one,
                                  .mode = SkaOptions::Mode::prefix});
}

}  // namespace
}  // namespace echo
