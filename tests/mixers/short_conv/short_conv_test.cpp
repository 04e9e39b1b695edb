#include "mixers/short_conv/short_conv.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>

namespace echo {
namespace {

using Activation = ShortConvOptions::Activation;

TEST(ShortConvTest, Conforms) { expect_conforms<ShortConv>(ShortConvOptions{}); }

TEST(ShortConvTest, ConformsWithoutGateAndWithActivation) {
  expect_conforms<ShortConv>(
      ShortConvOptions{.kernel = 4, .gate = false, .activation = Activation::silu});
}

TEST(ShortConvTest, ConformsWithoutMemory) {
  expect_conforms<ShortConv>(ShortConvOptions{.kernel = 1});
}

TEST(ShortConvTest, ReadsTheLastTokensOnly) {
  const auto mixer =
      make_mixer<ShortConv>(ShortConvOptions{.kernel = 3, .gate = false}, {.width = 1});
  for (const Parameter& parameter : mixer->parameters()) {
    at::Tensor value = parameter.value();
    if (parameter.name == "conv1d.weight")
      value.copy_(at::tensor({1.0f, 10.0f, 100.0f}).view({1, 1, 3}));
    if (parameter.name == "conv1d.bias") value.zero_();
  }
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 4, 1});
  const at::Tensor expected = at::tensor({100.0f, 210.0f, 321.0f, 432.0f}).view({1, 4, 1});
  EXPECT_TRUE(at::equal((*mixer)(x, {}), expected));
}

}  // namespace
}  // namespace echo
