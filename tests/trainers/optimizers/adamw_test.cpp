#include "trainers/optimizers/adamw/adamw.h"

#include <echo/error.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

Slot slot(std::vector<float> weights, std::vector<float> gradients, bool decay = true) {
  Slot made;
  made.name = "w";
  made.parameter = at::tensor(weights);
  made.gradient = at::tensor(gradients);
  made.decay = decay;
  return made;
}

AdamWOptions plain() {
  AdamWOptions options;
  options.betas = {0.9, 0.99};
  options.weight_decay = 0;
  return options;
}

double first(const at::Tensor& tensor) { return tensor[0].item<double>(); }

TEST(AdamW, FirstStepMovesEveryWeightByTheRate) {
  // m / (1 - b1) = g and v / (1 - b2) = g^2 at step 1, so the step is rate * sign(g).
  AdamW adamw(plain(), {});
  std::vector<Slot> slots = {slot({1, 1}, {0.5, -20})};
  adamw.update(slots, 0.1, 1);
  EXPECT_NEAR(slots[0].parameter[0].item<double>(), 0.9, 1e-6);
  EXPECT_NEAR(slots[0].parameter[1].item<double>(), 1.1, 1e-6);
}

TEST(AdamW, FollowsItsDefinitionOverManySteps) {
  AdamWOptions options;
  options.betas = {0.8, 0.95};
  options.eps = 1e-3;
  options.weight_decay = 0.3;
  AdamW adamw(options, {});
  std::vector<Slot> slots = {slot({2}, {0})};
  double w = 2, m = 0, v = 0;
  for (int64_t t = 1; t <= 20; ++t) {
    const double g = std::sin(static_cast<double>(t)), rate = 0.01 * static_cast<double>(t);
    slots[0].gradient.fill_(g);
    adamw.update(slots, rate, t);
    w *= 1 - rate * 0.3;
    m = 0.8 * m + 0.2 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double corrected_m = m / (1 - std::pow(0.8, t));
    const double corrected_v = v / (1 - std::pow(0.95, t));
    w -= rate * corrected_m / (std::sqrt(corrected_v) + 1e-3);
    ASSERT_NEAR(first(slots[0].parameter), w, 1e-5) << "step " << t;
  }
  EXPECT_NEAR(first(slots[0].state.at("exp_avg")), m, 1e-6);
  EXPECT_NEAR(first(slots[0].state.at("exp_avg_sq")), v, 1e-6);
}

TEST(AdamW, DecaysOnlyMarkedParameters) {
  AdamWOptions options = plain();
  options.weight_decay = 0.5;
  AdamW adamw(options, {});
  std::vector<Slot> slots = {slot({1}, {0}, true), slot({1}, {0}, false)};
  adamw.update(slots, 0.1, 1);
  EXPECT_NEAR(first(slots[0].parameter), 0.95, 1e-6);
  EXPECT_EQ(first(slots[1].parameter), 1.0);
}

TEST(AdamW, DecaysEveryParameterWhenAsked) {
  AdamWOptions options = plain();
  options.weight_decay = 0.5;
  options.decay = DecayRule::all;
  AdamW adamw(options, {});
  std::vector<Slot> slots = {slot({1}, {0}, false)};
  adamw.update(slots, 0.1, 1);
  EXPECT_NEAR(first(slots[0].parameter), 0.95, 1e-6);
}

TEST(AdamW, LeavesASlotWithoutAGradientAlone) {
  AdamW adamw(AdamWOptions(), {});
  std::vector<Slot> slots = {slot({1}, {1}), slot({1}, {1})};
  slots[1].gradient = at::Tensor();
  adamw.update(slots, 0.1, 1);
  EXPECT_NE(first(slots[0].parameter), 1.0);
  EXPECT_EQ(first(slots[1].parameter), 1.0);
  EXPECT_TRUE(slots[1].state.empty());
}

TEST(AdamW, UpdatesRowsOfASharedMatrixAndNothingElse) {
  AdamW adamw(plain(), {});
  const at::Tensor matrix = at::ones({4, 3});
  Slot rows;
  rows.parameter = matrix.narrow(0, 1, 2);
  rows.gradient = at::ones({2, 3});
  std::vector<Slot> slots = {rows};
  adamw.update(slots, 0.1, 1);
  EXPECT_TRUE(matrix[0].eq(1).all().item<bool>());
  EXPECT_TRUE(matrix[1].lt(0.91).all().item<bool>());
  EXPECT_TRUE(matrix[2].lt(0.91).all().item<bool>());
  EXPECT_TRUE(matrix[3].eq(1).all().item<bool>());
}

TEST(AdamW, MakesExactlyTheStateThatItNames) {
  AdamW adamw(plain(), {});
  std::vector<Slot> slots = {slot({1, 2}, {1, 2})};
  adamw.update(slots, 0.1, 1);
  std::vector<std::string> names;
  for (const auto& [name, value] : slots[0].state) {
    names.push_back(name);
    EXPECT_EQ(value.sizes(), slots[0].parameter.sizes());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(adamw.state_names()));
}

TEST(AdamW, RefusesBetasThatAreNotTwo) {
  AdamWOptions options;
  options.betas = {0.9};
  try {
    options.complete({});
    FAIL() << "accepted one beta";
  } catch (const FieldError& error) {
    EXPECT_EQ(error.field(), "betas");
    EXPECT_STREQ(error.what(), "takes two numbers, as in [0.9, 0.95], not 1");
  }
}

}  // namespace
}  // namespace echo
