// What must hold on another device than the CPU: mixers, models, training, decoding. Each test runs
// on a stand-in for a GPU and, where there is one, on a GPU.
#include "trainers/device.h"

#include "framework/src/decoder.h"
#include "framework/src/generation.h"
#include "framework/src/model/scoring.h"
#include "tests/device/stand_in.h"
#include "tests/mixers/wrappers.h"
#include "trainers/learner.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

constexpr double kFloat32 = 1e-4;  // RMS ratio of the same float32 sums in another order
constexpr double kBFloat16 = 5e-2;

const std::vector<std::string>& mixers() {
  static const std::vector<std::string> list{
      "{kind: ska, heads: 2, rank: 6}",
      "{kind: ska, heads: 2, rank: 6, power: 0, value_lag: true}",
      "{kind: mamba2, head_width: 16, state: 12, groups: 2}",
      "{kind: mamba3, head_width: 16, state: 12}",
      "{kind: mamba3, head_width: 16, state: 12, groups: 2, mimo_rank: 2}",
      "{kind: gated_deltanet, heads: 2, value_heads: 4, key_width: 8, value_width: 12}",
      "{kind: kda, heads: 2}",
      "{kind: deltanet, heads: 2}",
      "{kind: gla, heads: 4, kv_heads: 2, key_width: 6, value_width: 8}",
      "{kind: linear_attention, heads: 4, feature_map: elu, normalize: true}",
      "{kind: attention, heads: 4, kv_heads: 2}",
      "{kind: attention, heads: 4, window: 9}",
      "{kind: short_conv, kernel: 5}",
      "{kind: swiglu, hidden: 24}",
      "{kind: koopman_ffn, hidden: 24}",
      "{kind: parallel, mixers: [{kind: ska, heads: 2, rank: 6}, {kind: short_conv, kernel: 3}]}",
  };
  return list;
}

class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!on_gpu()) {
      device_ = stand_in();
      return;
    }
    try {
      device_ = parse_device("cuda");
    } catch (const ConfigError& none) {
      GTEST_SKIP() << "no GPU: " << none.what();
    }
  }

  bool on_gpu() const { return GetParam() == "gpu"; }
  at::Tensor there(const at::Tensor& tensor) const {
    return tensor.defined() ? tensor.to(device_) : tensor;
  }
  std::unique_ptr<Mixer> made_there(const std::string& text,
                                    at::ScalarType dtype = at::kFloat) const {
    return made(text, {.width = 32, .options = at::TensorOptions(dtype).device(device_)});
  }

  // Only the stand-in counts.
  void expect_no_traffic(const std::string& what) const {
    const Traffic traffic = take_traffic();
    if (on_gpu()) return;
    EXPECT_THAT(traffic.waits, ::testing::IsEmpty()) << what << ": the host waits for the device";
    EXPECT_THAT(traffic.feeds, ::testing::IsEmpty()) << what << ": the host brings data";
  }

  at::Device device_ = at::kCPU;
};

INSTANTIATE_TEST_SUITE_P(, DeviceTest, ::testing::Values("stand_in", "gpu"),
                         [](const auto& info) { return info.param; });

// y, and the gradients of sum(y * w) in x and in every parameter.
struct Passed {
  at::Tensor y;
  std::vector<std::pair<std::string, at::Tensor>> gradients;
};

Passed pass(Mixer& mixer, const at::Tensor& x, const at::Tensor& w, const Span& span) {
  const at::Tensor leaf = x.detach().clone().requires_grad_(true);
  const at::Tensor y = mixer(leaf, span);
  (y * w).sum().backward();
  Passed passed{y.detach(), {{"x", leaf.grad()}}};
  for (const Parameter& parameter : mixer.parameters())
    passed.gradients.emplace_back(parameter.name, parameter.gradient());
  return passed;
}

void expect_close(const Passed& value, const Passed& reference, const std::string& what) {
  EXPECT_LT(testing::rms_ratio(value.y.cpu(), reference.y), kFloat32) << what << ", y";
  for (size_t i = 0; i < reference.gradients.size(); ++i) {
    const auto& [name, expected] = reference.gradients[i];
    const at::Tensor& found = value.gradients[i].second;
    ASSERT_EQ(found.defined(), expected.defined()) << what << ", " << name;
    if (!expected.defined() || expected.abs().max().item<double>() < 1e-6) continue;
    EXPECT_LT(testing::rms_ratio(found.cpu(), expected), 10 * kFloat32)
        << what << ", gradient of " << name;
  }
}

TEST_P(DeviceTest, AMixerIsTheSameFunctionAndHasTheSameDerivative) {
  for (const std::string& text : mixers()) {
    const auto here = made(text), away = made_there(text);
    for (const int64_t length : {1, 70, 150}) {
      const at::Tensor x = tokens(2, length), w = tokens(2, length).flip(1).contiguous();
      const at::Tensor x_there = there(x), w_there = there(w);
      const Passed reference = pass(*here, x, w, {});
      take_traffic();
      const Passed found = pass(*away, x_there, w_there, {});
      expect_no_traffic(text + ", T = " + std::to_string(length));
      expect_close(found, reference, text + ", T = " + std::to_string(length));
    }
  }
}

TEST_P(DeviceTest, AMixerReadsDocumentsAndPadding) {
  const int64_t length = 100;
  at::Tensor starts = at::zeros({2, length}, at::kBool);
  starts[0][37] = starts[1][0] = starts[1][64] = true;
  const at::Tensor lengths = at::tensor({length, int64_t{81}}, at::TensorOptions(at::kLong));
  const Offsets offsets = host_offsets(starts, lengths, 2, length);
  const at::Tensor valid = padding(lengths, length).logical_not().unsqueeze(2);
  const at::Tensor x = tokens(2, length), w = tokens(2, length).flip(1) * valid;
  for (const std::string& text : mixers()) {
    Span span{.starts = starts, .lengths = lengths, .offsets = &offsets};
    Passed reference = pass(*made(text), x, w, span);
    span.starts = there(starts);
    span.lengths = there(lengths);
    const auto away = made_there(text);
    const at::Tensor x_there = there(x), w_there = there(w);
    take_traffic();
    Passed found = pass(*away, x_there, w_there, span);
    expect_no_traffic(text);
    reference.y = reference.y * valid;
    found.y = found.y.cpu() * valid;
    expect_close(found, reference, text);
  }
}

TEST_P(DeviceTest, AMixerGoesOnFromItsState) {
  const c10::NoGradGuard no_gradients;
  const int64_t length = 90;
  const at::Tensor x = tokens(1, length);
  for (const std::string& text : mixers()) {
    const at::Tensor reference = (*made(text))(x, {});
    const auto away = made_there(text);
    const at::Tensor x_there = there(x);
    State state = away->initial_state({.capacity = length, .device = device_});
    std::vector<at::Tensor> outputs{(*away)(x_there.narrow(1, 0, 50), {.state = &state})};
    take_traffic();
    for (int64_t t = 50; t < length; ++t)
      outputs.push_back((*away)(x_there.narrow(1, t, 1), {.state = &state}));
    expect_no_traffic(text + ", token by token");
    EXPECT_LT(testing::rms_ratio(at::cat(outputs, 1).cpu(), reference), kFloat32) << text;
  }
}

TEST_P(DeviceTest, AMixerReadsBFloat16) {
  const c10::NoGradGuard no_gradients;
  const at::Tensor x = tokens(2, 70).to(at::kBFloat16);
  for (const std::string& text : mixers()) {
    const at::Tensor reference = (*made(text))(x.to(at::kFloat), {});
    const at::Tensor found = (*made_there(text))(there(x), {});
    EXPECT_EQ(found.scalar_type(), at::kBFloat16);
    EXPECT_LT(testing::rms_ratio(found.cpu(), reference), kBFloat16) << text;
  }
}

// A model of all that can decode, on MQAR.
Recipe recipe_of(const std::vector<std::string>& overrides = {}) {
  std::string text = "name: device\nmodel:\n  width: 32\n  mixers:\n", blocks = "  blocks:\n";
  for (size_t i = 0; i < mixers().size(); ++i) {
    const std::string name = "m" + std::to_string(i);
    text += "    " + name + ": " + mixers()[i] + "\n";
    blocks += "    - [" + name + "]\n";
  }
  text += blocks +
          "task: {kind: mqar, length: 40, pairs: 4, vocabulary: 64}\n"
          "train: {steps: 4, batch: 4, optimizer: {kind: adamw, peak_rate: 1e-3}, schedule: {kind: "
          "cosine}}\n";
  return read_recipe_text(text, "device.yaml", ".", overrides, builtin_registry());
}

struct Learnt {
  std::vector<double> losses;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<Task> task;
};

Learnt learn(const Recipe& recipe, at::Device device, int64_t steps = 4) {
  Learnt learnt;
  learnt.task = make(builtin_registry().tasks, recipe.task, TaskPlace{.seed = 3});
  learnt.learner = std::make_unique<Learner>(recipe, builtin_registry(), device);
  const DataPlan plan{.task = learnt.task.get(),
                      .batch = recipe.train.batch,
                      .accumulation = recipe.train.accumulation,
                      .device = device};
  for (int64_t step = 1; step <= steps; ++step)
    learnt.losses.push_back(*learnt.learner->step(step_data(plan, step)).loss);
  return learnt;
}

TEST_P(DeviceTest, AModelLearnsTheSame) {
  const Recipe recipe = recipe_of({"train.accumulation=2"});
  const Learnt here = learn(recipe, at::kCPU), away = learn(recipe, device_);
  for (size_t step = 0; step < here.losses.size(); ++step)
    EXPECT_NEAR(away.losses[step], here.losses[step], 1e-3) << "step " << step + 1;
}

TEST_P(DeviceTest, AModelLearnsInBFloat16) {
  const Learnt here = learn(recipe_of(), at::kCPU);
  const Learnt away = learn(recipe_of({"train.precision=bfloat16"}), device_);
  for (size_t step = 0; step < here.losses.size(); ++step)
    EXPECT_NEAR(away.losses[step], here.losses[step], 0.1) << "step " << step + 1;
}

TEST_P(DeviceTest, AModelIsScoredTheSame) {
  const Learnt here = learn(recipe_of(), at::kCPU, 1), away = learn(recipe_of(), device_, 1);
  const Batch batch = here.task->batch(Split::validation, 0, 4);
  ModelEvaluator first(here.learner->model(), 4, {}), second(away.learner->model(), 4, {});
  const Evaluator::Result reference = first.score(batch), found = second.score(batch);
  EXPECT_LT(testing::rms_ratio(found.log_probability, reference.log_probability), 1e-3);
}

// Does the work when it is replayed, and not before.
class Repeated final : public Recording {
 public:
  explicit Repeated(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

TEST_P(DeviceTest, ReplayedTokensAreTheSame) {
  const Learnt learnt = learn(recipe_of(), device_, 1);
  Model& model = learnt.learner->model();
  const WorkRecorder recorder =
      on_gpu() ? recorder_for(device_)
               : [](const std::function<void()>& work) -> std::unique_ptr<Recording> {
    return std::make_unique<Repeated>(work);
  };
  constexpr int64_t kPrompt = 11, kLength = 80;
  Decoder plain(model, kLength, {}), replaying(model, kLength, recorder);
  std::vector<int64_t> text(kLength + 8);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<int64_t>(i * i % 61);
  for (int64_t t = 0; t < static_cast<int64_t>(text.size());) {
    const int64_t count = t == 0 || t == 40 ? kPrompt : 1;  // a stretch now and then
    const at::Tensor reference = plain.read(text.data() + t, count);
    const at::Tensor found = replaying.read(text.data() + t, count);
    ASSERT_LT(testing::rms_ratio(found, reference), kFloat32) << "token " << t;
    t += count;
  }
  EXPECT_EQ(plain.replayed(), 0);
  // All but the stretches, the token after each, ska's new factor at 64, and those past the
  // capacity.
  EXPECT_EQ(replaying.replayed(), kLength - 2 * kPrompt - 2 - 1);
}

TEST_P(DeviceTest, TheSameTokensAreWritten) {
  const Learnt here = learn(recipe_of(), at::kCPU, 1), away = learn(recipe_of(), device_, 1);
  const auto write = [](Model& model) {
    return generate(model, {3, 1, 4, 1, 5}, {.max_tokens = 20, .temperature = 0},
                    [](int64_t) { return true; });
  };
  EXPECT_EQ(write(here.learner->model()), write(away.learner->model()));
}

// A GPU fetches a batch from pinned memory; the batch is the same.
TEST_P(DeviceTest, ABatchArrives) {
  const Learnt learnt = learn(recipe_of(), at::kCPU, 0);
  const Batch batch = learnt.task->batch(Split::train, 0, 4);
  const PlacedBatch here = place(batch, at::kCPU), away = place(batch, device_);
  EXPECT_EQ(away.scored_count, here.scored_count);
  EXPECT_EQ(away.batch.inputs.device().type(), device_.type());
  EXPECT_TRUE(away.batch.inputs.cpu().equal(here.batch.inputs));
  EXPECT_TRUE(away.targets.cpu().equal(here.targets));
}

// The stand-in sees what it is there to see.
TEST(StandInTest, CountsWaitsAndFeeds) {
  const at::Tensor x = at::ones({3}).to(stand_in());
  take_traffic();
  EXPECT_EQ((x * 2).sum().item<double>(), 6);
  x.gt(0).nonzero();
  at::arange(3).to(stand_in());
  const Traffic traffic = take_traffic();
  EXPECT_THAT(traffic.waits, ::testing::ElementsAre("item", "aten::nonzero"));
  EXPECT_THAT(traffic.feeds, ::testing::ElementsAre("copy to the device"));
}

TEST(StandInTest, RefusesOperandsOnTwoDevices) {
  EXPECT_THROW(at::ones({3}).to(stand_in()) + at::ones({3}), std::exception);
}

TEST(StandInDeathTest, TheHostMayNotTouchItsMemory) {
  const at::Tensor x = at::ones({3}).to(stand_in());
  EXPECT_DEATH(static_cast<void>(*static_cast<const volatile float*>(x.const_data_ptr())), "");
}

}  // namespace
}  // namespace echo
