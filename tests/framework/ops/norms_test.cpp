#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

#include <ATen/Parallel.h>

namespace echo {
namespace {

TEST(NormsTest, RmsNormEqualsItsReference) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::ScalarType weight = dtype == at::kDouble ? at::kDouble : at::kFloat;
    expect_equal(
        [](const auto& in) { return std::vector{rms_norm(in[0], in[1], 1e-5)}; },
        [](const auto& in) { return std::vector{reference::rms_norm(in[0], in[1], 1e-5)}; },
        {random({3, 50, 37}, 1, dtype), random({37}, 2, weight)}, rounding(dtype));
  }
}

TEST(NormsTest, RmsNormReadsStridedHeads) {
  const auto heads = [](const at::Tensor& x) { return x.narrow(2, 8, 24).unflatten(2, {3, 8}); };
  expect_equal(
      [&](const auto& in) { return std::vector{rms_norm(heads(in[0]), {}, 1e-6)}; },
      [&](const auto& in) { return std::vector{reference::rms_norm(heads(in[0]), {}, 1e-6)}; },
      {random({2, 40, 40}, 3)}, 1e-14);
}

TEST(NormsTest, L2NormalizeEqualsItsReference) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    expect_equal([](const auto& in) { return std::vector{l2_normalize(in[0])}; },
                 [](const auto& in) { return std::vector{reference::l2_normalize(in[0], 1e-6)}; },
                 {random({2, 5, 4, 19}, 4, dtype)}, rounding(dtype));
  }
}

TEST(NormsTest, ZerosStayZeroWithAFiniteGradient) {
  const Evaluated result = evaluate([](const auto& in) { return std::vector{l2_normalize(in[0])}; },
                                    {at::zeros({4, 8}, at::kFloat)});
  EXPECT_TRUE(at::equal(result.outputs[0], at::zeros({4, 8})));
  EXPECT_TRUE(at::isfinite(result.gradients[0]).all().item<bool>());
}

TEST(NormsTest, ThreadsChangeNoBit) {
  const std::vector<at::Tensor> inputs = {random({8, 300, 64}, 5, at::kFloat),
                                          random({64}, 6, at::kFloat)};
  const Function norm = [](const auto& in) { return std::vector{rms_norm(in[0], in[1], 1e-6)}; };
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Evaluated one = evaluate(norm, inputs);
  at::set_num_threads(3);
  const Evaluated three = evaluate(norm, inputs);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one.outputs[0], three.outputs[0]));
  EXPECT_TRUE(at::equal(one.gradients[0], three.gradients[0]));
  EXPECT_TRUE(at::equal(one.gradients[1], three.gradients[1]));
}

TEST(NormsTest, RefusesASecondDerivative) {
  const at::Tensor x = random({2, 8}, 7).requires_grad_(true);
  const at::Tensor loss = rms_norm(x, {}, 1e-6).square().sum();
  try {
    loss.backward({}, /*retain_graph=*/true, /*create_graph=*/true);
    FAIL() << "a second derivative was given";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "a norm has no second derivative: call backward without create_graph");
  }
}

TEST(NormsTest, RefusesAWeightOfAnotherSize) {
  EXPECT_THROW(rms_norm(at::ones({2, 8}), at::ones({4}), 1e-6), std::logic_error);
}

}  // namespace
}  // namespace echo
