#include "framework/src/accounting/account.h"
#include "tests/support/builtins.h"
#include "trainers/determinism.h"
#include "trainers/step_memory.h"

#include <echo/error.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

const char* const kRecipe =
    "name: small\n"
    "model:\n"
    "  width: 32\n"
    "  mixers:\n"
    "    conv: {kind: short_conv}\n"
    "    ska: {kind: ska, heads: 2, rank: 8, power: 1}\n"
    "    attention: {kind: attention, heads: 4, kv_heads: 2}\n"
    "    near: {kind: attention, heads: 4, window: 64}\n"
    "    linear: {kind: linear_attention, heads: 2}\n"
    "    ffn: {kind: swiglu, hidden: 64}\n"
    "  blocks: [[ska, ffn]]\n"
    "task: {kind: mqar, length: 64, pairs: 8, vocabulary: 128}\n"
    "train: {steps: 4, batch: 2, optimizer: {kind: adamw}, schedule: {kind: constant}}\n";

const char* const kAllMixers =
    "model.blocks=[[conv], [ska, ffn], [attention, ffn], [near, ffn], [linear, ffn]]";

class Accounting : public ::testing::Test {
 protected:
  Accounting() { use_deterministic_threads(1); }

  static Recipe recipe(const std::vector<std::string>& overrides,
                       const Registry& registry = builtin_registry()) {
    return read_recipe_text(kRecipe, "small.yaml", "/", overrides, registry);
  }
  static Account account(const Recipe& recipe, const Registry& registry = builtin_registry()) {
    return {recipe, registry, task_workload(recipe, registry).of_rank(mesh_of(recipe))};
  }
  static double predicted_over_measured(const std::vector<std::string>& overrides,
                                        const Registry& registry = builtin_registry()) {
    const Recipe read = recipe(overrides, registry);
    return static_cast<double>(account(read, registry).peak()) /
           static_cast<double>(measured_peak(read, registry, mesh_of(read)));
  }
};

TEST_F(Accounting, CountsParametersAndStatesAsARealModelHasThem) {
  const Recipe read =
      recipe({kAllMixers, "model.head.tied=false", "model.norm={kind: layer_norm}"});
  const Model model(read.model, builtin_registry(), at::TensorOptions().dtype(at::kFloat),
                    at::kFloat);
  const ModelState state = model.initial_state(1, 200);
  const std::vector<LayerAccount> layers = account(read).layers(200);
  const LayerAccount total = sum(layers);
  EXPECT_EQ(total.parameters, 4 * model.parameter_count());
  EXPECT_EQ(total.gradients, total.parameters);
  EXPECT_EQ(total.optimizer, 2 * total.parameters);
  EXPECT_EQ(total.state, state.bytes());
  ASSERT_EQ(layers.size(), model.branches().size() + 3);
  for (size_t i = 0; i < model.branches().size(); ++i) {
    EXPECT_EQ(layers[i + 1].name, model.branches()[i]->name());
    EXPECT_EQ(layers[i + 1].state, state.branches[i].bytes()) << layers[i + 1].name;
    int64_t numbers = 0;
    for (const Parameter& parameter : model.branches()[i]->parameters())
      numbers += parameter.numel();
    EXPECT_EQ(layers[i + 1].parameters, 4 * numbers) << layers[i + 1].name;
  }
}

TEST_F(Accounting, GivesEveryMemoryACacheOfTheSameShapeAndChannelMixersNone) {
  const std::vector<LayerAccount> layers =
      account(recipe({"model.blocks=[[ska, ffn, attention, near]]", "train.precision=bfloat16"}))
          .layers(1000);
  EXPECT_EQ(layers[1].kv_cache, 2 * 1000 * 32 * 2);
  EXPECT_EQ(layers[2].kv_cache, 0);
  EXPECT_EQ(layers[3].kv_cache, 2 * 1000 * 16 * 2);  // two groups of keys for four heads
  EXPECT_EQ(layers[3].kv_cache, layers[3].state);
  EXPECT_EQ(layers[4].kv_cache, 2 * 1000 * 32 * 2);
}

TEST_F(Accounting, PredictsAStepOfEveryMixerAtFourTimesTheMeasuredLength) {
  for (const char* mixer : {"conv", "ska", "attention", "near", "linear", "ffn"}) {
    const double ratio = predicted_over_measured({std::string("model.blocks=[[") + mixer + "]]",
                                                  "task.length=1024", "task.vocabulary=1100"});
    EXPECT_NEAR(ratio, 1, 0.1) << mixer;
  }
}

TEST_F(Accounting, PredictsWhatAStepKeepsBesideItsMixers) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {kAllMixers},
      {"model.norm={kind: layer_norm}"},
      {"model.blocks=[[{mixer: ska, norm: post, scale: 0.5}, {mixer: ffn, norm: none}]]"},
      {"model.head.tied=false", "model.vocabulary=3000"},
      {"model.positions={kind: learned, length: 64}", "model.embedding_scale=2"},
      {"model.dropout=0.1"},
      {"train.precision=bfloat16"},
      {"train.precision=bfloat16", "model.norm={kind: layer_norm}", "model.dropout=0.1"},
      {"train.batch=12", "train.accumulation=3"},
      {"train.batch=1", "task.length=40"}};
  for (const auto& overrides : cases) {
    const double ratio = predicted_over_measured(overrides);
    EXPECT_NEAR(ratio, 1, 0.02) << ::testing::PrintToString(overrides);
  }
}

TEST_F(Accounting, PredictsAStepOfOneRankOfSeveral) {
  const std::vector<std::vector<std::string>> cases = {
      {"parallel.data=2"},
      {"parallel.data=2", "parallel.zero=1", kAllMixers},
      {"parallel.data=3", "parallel.zero=1", "train.batch=8", "train.accumulation=2"},
      {"parallel.data=2", "parallel.sequence=2", "parallel.zero=1", "model.blocks=[[linear, ffn]]"},
      {"parallel.sequence=4", "model.blocks=[[linear, ffn]]", "train.precision=bfloat16"}};
  for (const auto& overrides : cases) {
    const double ratio = predicted_over_measured(overrides);
    EXPECT_NEAR(ratio, 1, 0.05) << ::testing::PrintToString(overrides);
  }
}

TEST_F(Accounting, HoldsNoMoreThanALayer) {
  const Recipe read = recipe({"model.width=64", "model.vocabulary=100000", "train.batch=1",
                              "model.blocks=[{repeat: 200, block: [attention, ffn]}]"});
  const Workload workload{.length = 131072};
  const int64_t held = peak_bytes([&] {
    const Account account(read, builtin_registry(), workload);
    EXPECT_GT(account.peak(), int64_t{50} << 30);
    EXPECT_GT(sum(account.layers(131072)).state, int64_t{6} << 30);
  });
  EXPECT_LT(held, int64_t{64} << 20);
}

TEST_F(Accounting, FitsTheLargestBatchAndLength) {
  const Recipe read = recipe({"train.batch=2", "train.accumulation=2"});
  Workload workload = task_workload(read, builtin_registry()).workload;
  workload.varies = true;
  const Account account(read, builtin_registry(), workload);
  const int64_t size = int64_t{64} << 20;
  const int64_t batch = account.largest_batch(size), length = account.largest_length(size);
  EXPECT_EQ(batch % 2, 0);
  EXPECT_LE(account.peak(batch, 64), size);
  EXPECT_GT(account.peak(batch + 2, 64), size);
  EXPECT_LE(account.peak(2, length), size);
  EXPECT_GT(account.peak(2, length + 1), size);
  EXPECT_EQ(account.largest_batch(1000), 0);
  EXPECT_EQ(account.largest_length(1000), 0);
}

TEST_F(Accounting, EndsTheLargestLengthWhereLearnedPositionsEnd) {
  const Account counted = account(recipe({"model.positions={kind: learned, length: 100}"}));
  EXPECT_EQ(counted.largest_length(int64_t{1} << 40), 100);
}

TEST_F(Accounting, CountsWithoutTheTasksData) {
  const Recipe read =
      recipe({"task={kind: language_model, text: /nowhere, length: 128}", "model.vocabulary=256"});
  const TaskWorkload found = task_workload(read, builtin_registry());
  EXPECT_THAT(found.missing, HasSubstr("/nowhere"));
  EXPECT_EQ(found.workload.length, 128);
  EXPECT_EQ(found.workload.scored, 1);
}

// A mixer that no part of the program knows, with memory that grows with the square of the length.
struct AllPairsOptions {
  void visit(Fields&) {}
};

class AllPairs final : public Mixer {
 public:
  AllPairs(const AllPairsOptions&, const Place& place) : Mixer(place) {
    scale_ = parameter("scale", {place.width}, init::ones());
  }
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override { return batch * length * length; }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override {
    const at::Tensor scores = at::matmul(x * scale_, x.mT()).tril().tanh();
    if (span.probe) span.probe->loss("size", scores.square().mean());
    return at::matmul(scores, x);
  }

 private:
  at::Tensor scale_;
  Traits traits_{.memory = Memory::none};
};

TEST_F(Accounting, PredictsAMixerThatGrowsWithTheSquareOfTheLength) {
  Registry registry = builtin_registry();
  registry.add_mixer<AllPairs, AllPairsOptions>("all_pairs", "all pairs");
  const double ratio =
      predicted_over_measured({"model.mixers.pairs={kind: all_pairs}", "model.blocks=[[pairs]]",
                               "task.length=1024", "task.vocabulary=1100"},
                              registry);
  EXPECT_NEAR(ratio, 1, 0.02);
}

// Keeps three numbers for each of a matrix and none for a vector, and takes a copy of every
// gradient at once.
class Copying final : public Optimizer {
 public:
  Copying(const AllPairsOptions&, const OptimizerPlace&) {}
  double peak_rate() const override { return 0.1; }
  std::vector<std::string> state_names() const override { return {"a", "b", "c"}; }
  void update(std::span<Slot> slots, double, int64_t) override {
    std::vector<at::Tensor> copies;
    for (Slot& slot : slots) {
      copies.push_back(slot.gradient.clone());
      if (slot.parameter.dim() < 2) continue;
      for (const std::string& name : state_names()) {
        if (!slot.state[name].defined()) slot.state[name] = at::zeros_like(slot.parameter);
      }
    }
  }
};

TEST_F(Accounting, FindsOutWhatAnOptimizerKeepsAndTakes) {
  Registry registry = builtin_registry();
  registry.add_optimizer<Copying, AllPairsOptions>("copying", "copies");
  const std::vector<std::string> overrides = {"train.optimizer={kind: copying}", "model.width=256",
                                              "model.blocks=[[ffn]]", "train.batch=1",
                                              "model.vocabulary=5000"};
  const Recipe read = recipe(overrides, registry);
  const OptimizerCost cost = optimizer_cost(read.train.optimizer, registry);
  EXPECT_DOUBLE_EQ(cost.per_matrix, 3);
  EXPECT_DOUBLE_EQ(cost.per_vector, 0);
  EXPECT_DOUBLE_EQ(cost.passing_all, 1);
  EXPECT_DOUBLE_EQ(cost.passing_largest, 0);
  EXPECT_NEAR(predicted_over_measured(overrides, registry), 1, 0.02);
}

// A trace whose only number is its peak and its end.
Trace level(int64_t bytes) { return {.held = {0, bytes}}; }

TEST(Cost, IsALineWhereThreeLengthsShowNoParabola) {
  Cost cost;
  // A fixed part, and a bend between the second and the third: a window that has been filled.
  for (const auto& [length, bytes] :
       {std::pair<int64_t, int64_t>{1, 101}, {2, 102}, {4, 110}, {8, 130}})
    cost.add({length}, level(bytes));
  EXPECT_EQ(cost.at({16}).last, 170);
  EXPECT_EQ(cost.at({8}).last, 130);
  EXPECT_EQ(cost.at({3}).last, 106);
}

TEST(Cost, IsAParabolaWhereItMeetsAllLengths) {
  Cost cost;
  for (const int64_t length : {1, 2, 4, 8}) cost.add({length}, level(7 + length + length * length));
  EXPECT_EQ(cost.at({100}).peak, 7 + 100 + 10000);
}

TEST(Cost, MultipliesAxes) {
  Cost cost;
  for (const int64_t batch : {2, 4}) {
    for (const int64_t length : {8, 16}) cost.add({batch, length}, level(5 + batch * length));
  }
  EXPECT_EQ(cost.at({10, 100}).last, 1005);
}

TEST(Cost, FindsThePeakOfALargeSizeAtAnotherMomentThanThatOfASmallOne) {
  Cost cost;
  for (const int64_t length : {1, 2}) cost.add({length}, {.held = {0, 10 * length, 50, 0}});
  EXPECT_EQ(cost.at({2}).peak, 50);
  EXPECT_EQ(cost.at({100}).peak, 1000);
}

}  // namespace
}  // namespace echo
