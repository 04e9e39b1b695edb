#include "mixers/koopman_ffn/koopman_ffn.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>

namespace echo {
namespace {

using Constraint = KoopmanFfnOptions::Constraint;

TEST(KoopmanFfnTest, Conforms) { expect_conforms<KoopmanFfn>(KoopmanFfnOptions{.hidden = 40}); }

TEST(KoopmanFfnTest, ConformsGatedOnTheCircle) {
  expect_conforms<KoopmanFfn>(
      KoopmanFfnOptions{.hidden = 40, .gated = true, .constraint = Constraint::circle});
}

TEST(KoopmanFfnTest, HiddenIsEightThirdsOfTheWidthByDefault) {
  KoopmanFfnOptions options;
  options.complete({.width = 448});
  EXPECT_EQ(options.hidden, 1216);
}

TEST(KoopmanFfnTest, RefusesAnOddHiddenWidth) {
  KoopmanFfnOptions options{.hidden = 7};
  try {
    options.complete({.width = 8});
    FAIL() << "7 was taken";
  } catch (const FieldError& error) {
    EXPECT_EQ(error.field(), "hidden");
    EXPECT_STREQ(error.what(), "hidden is 7, and the layer turns pairs: make it even, as 8");
  }
}

// With the identity as lift and readout only the pairs are left.
at::Tensor turned(const KoopmanFfnOptions& options, double a, double b) {
  const auto mixer = make_mixer<KoopmanFfn>(options, {.width = 2});
  for (const Parameter& parameter : mixer->parameters()) {
    at::Tensor value = parameter.value();
    if (value.dim() == 2) value.copy_(at::eye(2));
    if (parameter.name == "a") value.fill_(a);
    if (parameter.name == "b") value.fill_(b);
  }
  return (*mixer)(at::tensor({3.0f, -2.0f}).view({1, 1, 2}), {}).flatten();
}

TEST(KoopmanFfnTest, LeavesModesInsideTheDiskAsTheyAre) {
  const at::Tensor g = at::silu(at::tensor({3.0f, -2.0f}));
  const at::Tensor y = turned({.hidden = 2}, 0.3, 0.4);
  EXPECT_FLOAT_EQ(y[0].item<float>(), (0.3f * g[0] + 0.4f * g[1]).item<float>());
  EXPECT_FLOAT_EQ(y[1].item<float>(), (-0.4f * g[0] + 0.3f * g[1]).item<float>());
}

TEST(KoopmanFfnTest, TheCircleKeepsNorms) {
  const at::Tensor g = at::silu(at::tensor({3.0f, -2.0f}));
  const at::Tensor y = turned({.hidden = 2, .constraint = Constraint::circle}, 0.3, 0.4);
  EXPECT_FLOAT_EQ(y.norm().item<float>(), g.norm().item<float>());
}

TEST(KoopmanFfnTest, PullsModesOutsideTheDiskToItsEdge) {
  const at::Tensor g = at::silu(at::tensor({3.0f, -2.0f}));
  EXPECT_FLOAT_EQ(turned({.hidden = 2}, 3, 4).norm().item<float>(), g.norm().item<float>());
}

}  // namespace
}  // namespace echo
