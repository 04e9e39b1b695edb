#include <echo/linear.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

std::vector<LinearBlock> blocks() {
  return {{"q_proj", 5, init::normal(1)}, {"beta_proj", 2, init::normal(1), init::constant(2)}};
}

TEST(LinearTest, EqualsTheBlocksOneByOne) {
  Linear linear(4, blocks(), at::TensorOptions().dtype(at::kDouble));
  initialize(linear, 3);
  const at::Tensor x = at::randn({2, 3, 4}, at::TensorOptions().dtype(at::kDouble));
  const auto parameters = linear.parameters();
  ASSERT_EQ(parameters.size(), 3u);
  EXPECT_EQ(parameters[0].name, "q_proj.weight");
  EXPECT_EQ(parameters[1].name, "beta_proj.weight");
  EXPECT_EQ(parameters[2].name, "beta_proj.bias");
  const auto parts = linear.split(x);
  EXPECT_TRUE(at::allclose(parts[0], at::matmul(x, parameters[0].value().t())));
  EXPECT_TRUE(at::allclose(parts[1], at::matmul(x, parameters[1].value().t()) + 2));
}

TEST(LinearTest, PadsRowsToSixteenWithoutShowingThem) {
  Linear linear(4, blocks(), at::TensorOptions().dtype(at::kFloat));
  EXPECT_EQ(linear.outputs(), 7);
  EXPECT_EQ(linear.parameters()[0].storage.size(0), 16);
  EXPECT_EQ(linear.parameters()[0].numel(), 20);
  EXPECT_EQ(linear.flops(10), 2 * 10 * 4 * 7);
}

TEST(LinearTest, GivesEveryBlockItsGradient) {
  Linear linear(4, blocks(), at::TensorOptions().dtype(at::kFloat));
  initialize(linear, 3);
  linear.split(at::ones({1, 1, 4}))[1].sum().backward();
  const auto parameters = linear.parameters();
  EXPECT_EQ(parameters[0].gradient().abs().sum().item<float>(), 0);
  EXPECT_TRUE(at::equal(parameters[1].gradient(), at::ones({2, 4})));
  EXPECT_TRUE(at::equal(parameters[2].gradient(), at::ones({2})));
}

TEST(LinearTest, CastsItsParametersToTheInput) {
  Linear linear(4, {{"o_proj", 3, init::normal(1)}}, at::TensorOptions().dtype(at::kFloat));
  initialize(linear, 3);
  EXPECT_EQ(linear(at::ones({1, 1, 4}).to(at::kBFloat16)).scalar_type(), at::kBFloat16);
}

TEST(LinearTest, AParameterIsAWindowOnTheMatrix) {
  Linear linear(4, blocks(), at::TensorOptions().dtype(at::kFloat));
  initialize(linear, 3);
  linear.parameters()[1].value().zero_();
  EXPECT_TRUE(at::equal(linear.split(at::ones({1, 1, 4}))[1].flatten(), at::full({2}, 2.0)));
}

}  // namespace
}  // namespace echo
