#include "trainers/learner.h"

#include "tests/trainers/support.h"
#include "trainers/determinism.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace testing_run;

// A learner and its data.
struct Bench {
  explicit Bench(const std::vector<std::string>& overrides, int64_t accumulation = 1)
      : threads(use_deterministic_threads(1)),
        read(recipe(overrides)),
        task(make(plugins().registry().tasks, read.task, TaskPlace{.seed = 3})),
        learner(read, plugins().registry(), at::kCPU),
        plan{.task = task.get(), .batch = read.train.batch, .accumulation = accumulation} {}
  StepResult step(int64_t number) { return learner.step(step_data(plan, number)); }
  std::map<std::string, at::Tensor> parameters() const {
    std::map<std::string, at::Tensor> values;
    for (const Parameter& parameter : learner.model().parameters())
      values[parameter.name] = parameter.value().clone();
    return values;
  }
  int64_t threads;  // set before anything computes
  Recipe read;
  std::unique_ptr<Task> task;
  Learner learner;
  DataPlan plan;
};

TEST(Learner, LowersTheLoss) {
  Bench bench({"train.optimizer.peak_rate=0.03"});
  const double first = bench.step(1).loss.value();
  EXPECT_NEAR(first, std::log(11), 0.2);  // eleven tokens, nothing learned
  double last = first;
  for (int64_t step = 2; step <= 60; ++step) last = bench.step(step).loss.value();
  EXPECT_LT(last, first - 0.5);
}

TEST(Learner, TakesTheRateFromOptimizerAndSchedule) {
  Bench bench({"train.optimizer.peak_rate=0.03"});
  EXPECT_DOUBLE_EQ(bench.step(1).learning_rate, 0.015);
  EXPECT_DOUBLE_EQ(bench.step(2).learning_rate, 0.01);
}

TEST(Learner, PartsGiveTheSameStepAsTheWholeBatch) {
  // Samples differ in their number of labels, so a mean of means would be wrong.
  const std::vector<std::string> overrides = {"task.padded=true", "train.batch=9"};
  Bench whole(overrides), parts(overrides, 3);
  for (int64_t step = 1; step <= 4; ++step) {
    const StepResult a = whole.step(step), b = parts.step(step);
    EXPECT_NEAR(*a.loss, *b.loss, 1e-5);
    EXPECT_NEAR(*a.gradient_norm, *b.gradient_norm, 1e-5);
  }
  for (const auto& [name, value] : whole.parameters())
    EXPECT_LT((value - parts.parameters().at(name)).abs().max().item<double>(), 1e-4) << name;
}

TEST(Learner, PartsGiveTheSameDropout) {
  const std::vector<std::string> overrides = {"model.dropout=0.3", "train.batch=8"};
  Bench whole(overrides), parts(overrides, 4), without({"train.batch=8"});
  const StepResult a = whole.step(1), b = parts.step(1);
  EXPECT_NEAR(*a.loss, *b.loss, 1e-6);
  EXPECT_NEAR(*a.gradient_norm, *b.gradient_norm, 1e-5);
  EXPECT_NE(*a.gradient_norm, *without.step(1).gradient_norm);
}

TEST(Learner, ClipsTheGradientToItsLongestLength) {
  Bench free({"train.clip=null"}), clipped({"train.clip=0.001"});
  const StepResult a = free.step(1), b = clipped.step(1);
  EXPECT_EQ(*a.gradient_norm, *b.gradient_norm);  // the norm before clipping
  // exp_avg is (1 - beta) g after the first step.
  double squares = 0;
  for (const Slot& slot : clipped.learner.slots())
    squares += slot.state.at("exp_avg").square().sum().item<double>();
  EXPECT_NEAR(std::sqrt(squares) / 0.1, 0.001, 1e-6);
  const double share = 0.001 / *a.gradient_norm;
  for (size_t i = 0; i < free.learner.slots().size(); ++i) {
    const at::Tensor expected = free.learner.slots()[i].state.at("exp_avg") * share;
    EXPECT_TRUE(clipped.learner.slots()[i].state.at("exp_avg").allclose(expected, 1e-4, 1e-9));
  }
}

TEST(Learner, LeavesAShortGradientAsItIs) {
  Bench free({"train.clip=null"}), clipped({"train.clip=1000"});
  free.step(1);
  clipped.step(1);
  for (const auto& [name, value] : free.parameters())
    EXPECT_TRUE(value.equal(clipped.parameters().at(name))) << name;
}

TEST(Learner, ABatchWithoutALabelChangesNothing) {
  Bench bench({"task.unlabelled=1"});
  const auto before = bench.parameters();
  const StepResult result = bench.step(1);
  EXPECT_EQ(result.loss, std::nullopt);
  EXPECT_EQ(result.gradient_norm, std::nullopt);
  for (const auto& [name, value] : bench.parameters())
    EXPECT_TRUE(value.equal(before.at(name))) << name;
}

TEST(Learner, APartWithoutALabelDoesNoHarm) {
  Bench whole({"task.unlabelled=2"}), parts({"task.unlabelled=2"}, 4);
  EXPECT_NEAR(*whole.step(1).loss, *parts.step(1).loss, 1e-6);
  for (const auto& [name, value] : parts.parameters())
    EXPECT_TRUE(value.isfinite().all().item<bool>()) << name;
}

TEST(Learner, AddsAuxiliaryLosses) {
  const std::vector<std::string> overrides = {"model.mixers.mean.auxiliary=true"};
  Bench plain({}), whole(overrides), parts(overrides, 2);
  const StepResult a = plain.step(1), b = whole.step(1), c = parts.step(1);
  EXPECT_TRUE(a.auxiliary.empty());
  EXPECT_EQ(*a.loss, *b.loss);  // reported apart
  EXPECT_GT(b.auxiliary.at("square"), 0);
  EXPECT_NE(*a.gradient_norm, *b.gradient_norm);
  EXPECT_NEAR(b.auxiliary.at("square"), c.auxiliary.at("square"), 1e-6);
  EXPECT_NEAR(*b.gradient_norm, *c.gradient_norm, 1e-5);
}

TEST(Learner, TrainsWithBfloat16ActivationsAndFloatParameters) {
  Bench bench({"train.precision=bfloat16"});
  EXPECT_NEAR(*bench.step(1).loss, std::log(11), 0.2);
  for (const auto& [name, value] : bench.parameters())
    EXPECT_EQ(value.scalar_type(), at::kFloat) << name;
}

TEST(Learner, GivesTheSameBitsAgain) {
  Bench a({}), b({});
  for (int64_t step = 1; step <= 5; ++step) EXPECT_EQ(*a.step(step).loss, *b.step(step).loss);
  for (const auto& [name, value] : a.parameters())
    EXPECT_TRUE(value.equal(b.parameters().at(name))) << name;
}

TEST(Learner, NamesTheLayerWhoseOutputIsNotFinite) {
  Bench bench(
      {"model.mixers.bad={kind: mean, poison: true}", "model.blocks=[[mean], [mean, bad]]"});
  const auto before = bench.parameters();
  EXPECT_THAT(
      message_of<NotFinite>([&] { bench.step(5); }),
      AllOf(HasSubstr("step 5: the loss is not finite"),
            HasSubstr("the output of blocks.1.1.mixer (mean)"), HasSubstr("of 192 values")));
  for (const auto& [name, value] : bench.parameters())
    EXPECT_TRUE(value.equal(before.at(name))) << name;
}

TEST(Learner, NamesTheParameterThatIsNotFinite) {
  Bench bench({});
  bench.learner.slots()[3].parameter.view(-1)[0] = NAN;
  EXPECT_THAT(
      message_of<NotFinite>([&] { bench.step(1); }),
      AllOf(HasSubstr("the parameter " + bench.learner.slots()[3].name), HasSubstr("1 of ")));
}

TEST(Learner, NamesTheGradientThatIsNotFinite) {
  Bench bench({"model.mixers.bad={kind: mean, steep: true}", "model.blocks=[[mean, bad], [mean]]"});
  EXPECT_THAT(message_of<NotFinite>([&] { bench.step(1); }),
              AllOf(HasSubstr("step 1: the gradient is not finite"),
                    HasSubstr("the gradient of blocks.0.1.norm.weight: 8 of 8 values")));
}

}  // namespace
}  // namespace echo
