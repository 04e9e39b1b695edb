#include <echo/error.h>
#include <echo/module.h>
#include <echo/random.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

class Inner final : public Module {
 public:
  explicit Inner(const at::TensorOptions& options) : Module(options) {
    weight = parameter("weight", {3, 2}, init::normal(1));
  }
  at::Tensor weight;
};

class Outer final : public Module {
 public:
  explicit Outer(const at::TensorOptions& options) : Module(options) {
    scale = parameter("scale", {2}, init::constant(3), {.decay = false});
    named = &child("inner", std::make_unique<Inner>(options));
    spliced = &child("", std::make_unique<Inner>(options));
  }
  using Module::parameter;
  at::Tensor scale;
  Inner* named;
  Inner* spliced;
};

at::TensorOptions float32() { return at::TensorOptions().dtype(at::kFloat); }

TEST(ModuleTest, NamesParametersByTheirPath) {
  const Outer outer(float32());
  std::vector<std::string> names;
  for (const Parameter& parameter : outer.parameters("model")) names.push_back(parameter.name);
  EXPECT_EQ(names, (std::vector<std::string>{"model.scale", "model.inner.weight", "model.weight"}));
}

TEST(ModuleTest, KeepsTheDecayRuleOfEachParameter) {
  const Outer outer(float32());
  EXPECT_FALSE(outer.parameters()[0].options.decay);
  EXPECT_TRUE(outer.parameters()[1].options.decay);
}

TEST(ModuleTest, DrawsFromSeedAndNameOnly) {
  Outer first(float32()), second(float32()), other(float32());
  initialize(first, 7);
  initialize(second, 7);
  initialize(other, 8);
  EXPECT_TRUE(at::equal(first.named->weight, second.named->weight));
  EXPECT_FALSE(at::equal(first.named->weight, first.spliced->weight));
  EXPECT_FALSE(at::equal(first.named->weight, other.named->weight));
}

TEST(ModuleTest, DrawsTheSameValuesInFloat64) {
  Outer narrow(float32()), wide(at::TensorOptions().dtype(at::kDouble));
  initialize(narrow, 7);
  initialize(wide, 7);
  EXPECT_TRUE(at::equal(narrow.named->weight.to(at::kDouble), wide.named->weight));
}

TEST(ModuleTest, LeavesMetaTensorsAlone) {
  Outer outer(at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
  initialize(outer, 7);
  EXPECT_TRUE(outer.scale.is_meta());
}

TEST(ModuleTest, GivesTheGradientOfAParameter) {
  Outer outer(float32());
  initialize(outer, 7);
  EXPECT_FALSE(outer.parameters()[0].gradient().defined());
  (outer.scale * 2).sum().backward();
  EXPECT_TRUE(at::equal(outer.parameters()[0].gradient(), at::full({2}, 2.0)));
}

TEST(ModuleTest, RefusesANameThatIsTaken) {
  Outer outer(float32());
  EXPECT_THROW(outer.parameter("scale", {1}, init::zeros()), std::logic_error);
}

TEST(ModuleTest, KeepsStatisticsInFloat32UnlessParametersAreFloat64) {
  EXPECT_EQ(Outer(float32()).statistics_dtype(), at::kFloat);
  EXPECT_EQ(Outer(at::TensorOptions().dtype(at::kDouble)).statistics_dtype(), at::kDouble);
}

TEST(InitTest, OrthogonalHasOrthonormalRowsOrColumns) {
  at::Generator stream = generator(1, "test");
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{5, 9}, {9, 5}}) {
    at::Tensor value = at::empty({rows, columns});
    init::orthogonal()(value, stream);
    const at::Tensor gram = rows < columns ? value.mm(value.t()) : value.t().mm(value);
    EXPECT_TRUE(at::allclose(gram, at::eye(5), 1e-5, 1e-6));
  }
}

TEST(InitTest, BoundsFollowTheFans) {
  at::Generator stream = generator(1, "test");
  at::Tensor value = at::empty({200, 300});
  init::xavier_uniform()(value, stream);
  EXPECT_NEAR(value.abs().max().item<double>(), std::sqrt(6.0 / 500), 1e-4);
  init::kaiming_uniform()(value, stream);
  EXPECT_NEAR(value.abs().max().item<double>(), 1 / std::sqrt(300.0), 1e-4);
  init::log_of_uniform(1, 16)(value, stream);
  EXPECT_GE(value.min().item<double>(), 0);
  EXPECT_NEAR(value.exp().mean().item<double>(), 8.5, 0.1);
}

TEST(InitTest, TimeStepsAreLogUniform) {
  at::Generator stream = generator(1, "test");
  at::Tensor value = at::empty({100000});
  init::time_step_bias()(value, stream);
  const at::Tensor steps = at::softplus(value);
  EXPECT_NEAR(steps.min().item<double>(), 1e-3, 1e-5);
  EXPECT_NEAR(steps.max().item<double>(), 0.1, 1e-3);
  EXPECT_NEAR(steps.log().mean().item<double>(), std::log(1e-2), 0.02);
  EXPECT_NEAR(steps.log().std().item<double>(), std::log(100.0) / std::sqrt(12.0), 0.02);
}

}  // namespace
}  // namespace echo
