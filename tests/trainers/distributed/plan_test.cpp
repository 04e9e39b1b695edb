#include "trainers/distributed/plan.h"

#include "framework/src/ranks/local_communicator.h"
#include "tests/support/builtins.h"
#include "trainers/determinism.h"
#include "trainers/distributed/ranks.h"
#include "trainers/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// 12 parameters of 3,128 elements: 512 (embedding); 16, 8, 4 x 256 (linear attention); 16, 3 x 512
// (feed-forward); 16 (final norm).
const char* const kRecipe =
    "name: small\n"
    "model:\n"
    "  width: 16\n"
    "  mixers:\n"
    "    linear: {kind: linear_attention, heads: 2}\n"
    "    attention: {kind: attention, heads: 2}\n"
    "    ffn: {kind: swiglu, hidden: 32}\n"
    "  blocks: [[linear, ffn]]\n"
    "task: {kind: mqar, length: 16, pairs: 2, vocabulary: 32}\n"
    "train: {steps: 4, batch: 8, optimizer: {kind: adamw}, schedule: {kind: constant}}\n";
constexpr int64_t kElements = 3128, kParameters = 12;
constexpr int64_t kBucket = 4 * (kElements + kParameters);  // bytes: all gradients in one

class Plans : public ::testing::Test {
 protected:
  Plans() { use_deterministic_threads(1); }

  static Recipe recipe(const std::vector<std::string>& overrides = {},
                       const Registry& registry = builtin_registry()) {
    return read_recipe_text(kRecipe, "small.yaml", "/", overrides, registry);
  }
  static Planner planner(const std::vector<std::string>& overrides = {}) {
    return {recipe(overrides), builtin_registry()};
  }
  static PlannedTraffic traffic(const Mesh& mesh, const std::vector<std::string>& overrides = {}) {
    return planned_traffic(recipe(overrides), builtin_registry(), mesh);
  }
};

constexpr int64_t kPlenty = int64_t{1} << 40;

TEST_F(Plans, SendGradientsTwiceRoundTheRing) {
  const PlannedTraffic sent = traffic({.data = 4});
  EXPECT_EQ(sent.gradients, 2 * kBucket * 3 / 4);
  EXPECT_EQ(sent.parameters, 0);
  EXPECT_EQ(sent.control, 2 * 24 * 3 / 4 + 2 * 16 * 3 / 4);
  EXPECT_EQ(sent.sequence, 0);
  EXPECT_EQ(sent.total(), sent.gradients + sent.control);
}

TEST_F(Plans, SendGradientsOnceAndParametersOnceWithZero) {
  const PlannedTraffic sent = traffic({.data = 4, .zero = 1});
  EXPECT_EQ(sent.gradients, kBucket * 3 / 4);
  EXPECT_EQ(sent.parameters, kBucket * 3 / 4);
  EXPECT_EQ(sent.control, 2 * 24 * 3 / 4 + 2 * 16 * 3 / 4 + 2 * 8 * 3 / 4);
}

TEST_F(Plans, SendNothingFromOneRank) { EXPECT_EQ(traffic({}).total(), 0); }

TEST_F(Plans, ReduceGradientsOverTheRanksOfASequenceToo) {
  EXPECT_EQ(traffic({.data = 2, .sequence = 2}).gradients, traffic({.data = 4}).gradients);
}

TEST_F(Plans, ExchangeAMemoryOfConstantSizeWhateverTheLength) {
  constexpr int64_t kState = 2 * 8 * 8 * 4;  // of a row: heads, keys, values, bytes
  constexpr int64_t kRows = 4, kOthers = 1, kDirections = 2;
  const Mesh mesh{.data = 2, .sequence = 2};
  EXPECT_EQ(traffic(mesh).sequence, kDirections * kOthers * kRows * kState);
  EXPECT_EQ(traffic(mesh, {"task.length=256", "task.vocabulary=300"}).sequence,
            traffic(mesh).sequence);
  EXPECT_EQ(traffic({.sequence = 4}).sequence, kDirections * 3 * 8 * kState);
}

TEST_F(Plans, ExchangeTheKeysAndValuesOfAPart) {
  const std::vector<std::string> attention = {"model.blocks=[[attention]]"};
  constexpr int64_t kRows = 4, kPart = 8, kKeysAndValues = 2 * 16 * 4;
  const Mesh mesh{.data = 2, .sequence = 2};
  EXPECT_EQ(traffic(mesh, attention).sequence, 2 * kRows * kPart * kKeysAndValues);
  EXPECT_EQ(traffic(mesh, {attention[0], "train.precision=bfloat16"}).sequence,
            kRows * kPart * kKeysAndValues);
}

TEST_F(Plans, RoundEveryBucketByItself) {
  // The head of 2 x 5,000 x 256 elements takes a bucket, all else comes behind it.
  const std::vector<std::string> large = {"model.width=256", "model.vocabulary=5000",
                                          "model.head.tied=false", "model.blocks=[[ffn]]"};
  const int64_t first = 4 * (5000 * 256 + 1);  // the head
  const int64_t second =
      4 * (256 + 3 * 32 * 256 + 256 + 5 + 5000 * 256 + 1);  // up to the embedding
  const PlannedTraffic sent = traffic({.data = 3}, large);
  EXPECT_EQ(sent.gradients, 2 * first * 2 / 3 + 2 * second * 2 / 3);
}

// What rank `rank` of a real mesh, whose ranks are threads, sends in its second step.
struct Sent {
  int64_t world = 0, sequence = 0;
};
std::vector<Sent> sent_in_a_step(const Recipe& read, const Registry& registry, const Mesh& mesh) {
  std::vector<Sent> sent(static_cast<size_t>(mesh.ranks()));
  const auto task = make(registry.tasks, read.task, TaskPlace{.seed = 1});
  run_local_ranks(mesh.ranks(), 60, [&](Communicator& communicator) {
    Ranks ranks(communicator.split(0, "all"));
    ranks.arrange({.data = mesh.data, .sequence = mesh.sequence});
    const DataPlan plan{.task = task.get(),
                        .batch = read.train.batch,
                        .accumulation = read.train.accumulation,
                        .rank = ranks.data_rank(),
                        .ranks = mesh.data,
                        .sequence_rank = ranks.sequence_rank(),
                        .sequence_ranks = mesh.sequence};
    Learner learner(read, registry, at::kCPU, {.ranks = &ranks});
    learner.step(step_data(plan, 1));
    const auto so_far = [&] {
      return Sent{ranks.world().bytes_sent(),
                  ranks.sequence() ? ranks.sequence()->bytes_sent() : 0};
    };
    const Sent before = so_far();
    learner.step(step_data(plan, 2));
    const Sent after = so_far();
    sent[static_cast<size_t>(ranks.rank())] = {after.world - before.world,
                                               after.sequence - before.sequence};
  });
  return sent;
}

TEST_F(Plans, AreWhatRanksSend) {
  const std::vector<std::string> all = {
      "model.mixers.conv={kind: short_conv}",
      "model.mixers.ska={kind: ska, heads: 2, rank: 4, power: 1}",
      "model.mixers.mamba={kind: mamba2, head_width: 8, state: 4}",
      "model.mixers.third={kind: mamba3, head_width: 8, state: 4}",
      "model.mixers.delta={kind: gated_deltanet, heads: 2}",
      "model.mixers.gated={kind: gla, heads: 2}",
      "model.mixers.near={kind: attention, heads: 2, window: 5}",
      "model.blocks=[[conv, ska, mamba], [third, delta, gated], [attention, near, linear, ffn]]",
      "task.length=64",
      "task.vocabulary=80"};
  for (const Mesh& mesh : std::vector<Mesh>{{.data = 2},
                                            {.data = 4, .zero = 1},
                                            {.sequence = 2},
                                            {.data = 2, .sequence = 2, .zero = 1},
                                            {.sequence = 4}}) {
    std::vector<std::string> overrides = all;
    overrides.push_back("parallel={data: " + std::to_string(mesh.data) +
                        ", sequence: " + std::to_string(mesh.sequence) +
                        ", zero: " + std::to_string(mesh.zero) + "}");
    for (const char* parts : {"train.accumulation=1", "train.accumulation=2"}) {
      overrides.push_back(parts);
      const Recipe read = recipe(overrides);
      const PlannedTraffic planned = planned_traffic(read, builtin_registry(), mesh);
      for (const Sent& sent : sent_in_a_step(read, builtin_registry(), mesh)) {
        EXPECT_EQ(sent.world, planned.gradients + planned.parameters + planned.control)
            << mesh.text() << " " << parts;
        EXPECT_EQ(sent.sequence, planned.sequence) << mesh.text() << " " << parts;
      }
    }
  }
}

TEST_F(Plans, CountTheMemoryOfARank) {
  const Planner small = planner();
  const PlannedMemory alone = small.memory({}), four = small.memory({.data = 4}),
                      zero = small.memory({.data = 4, .zero = 1});
  EXPECT_EQ(alone.parameters, 4 * kElements);
  EXPECT_EQ(alone.gradients, 4 * kElements);
  EXPECT_EQ(alone.buckets, 0);
  EXPECT_EQ(alone.optimizer, 8 * kElements);
  EXPECT_EQ(four.buckets, kBucket);
  EXPECT_EQ(four.optimizer, 8 * kElements);
  // Of four ranks each owns one of 512 and one of 256; the norms of 16 make the largest share.
  EXPECT_EQ(zero.optimizer, 8 * (512 + 256 + 16));
  EXPECT_EQ(four.activations, zero.activations);
  EXPECT_EQ(four.peak - zero.peak, four.optimizer - zero.optimizer);
}

TEST_F(Plans, TakeLessMemoryWithMoreRanksOfASequence) {
  const Planner small = planner({"task.length=256", "task.vocabulary=300"});
  int64_t peak = kPlenty;
  for (const int64_t ranks : {1, 2, 4, 8}) {
    const PlannedMemory memory = small.memory({.sequence = ranks});
    EXPECT_LT(memory.peak, peak);
    peak = memory.peak;
  }
}

TEST_F(Plans, PredictWhatMemoryPredicts) {
  const Recipe read = recipe({"task.length=256", "task.vocabulary=300"});
  const Planner small(read, builtin_registry());
  const Mesh mesh{.data = 2, .sequence = 2, .zero = 1};
  const Account account(read, builtin_registry(), small.task().of_rank(mesh));
  EXPECT_NEAR(static_cast<double>(small.memory(mesh).peak) / static_cast<double>(account.peak()), 1,
              0.05);
}

TEST_F(Plans, ComputeThreeForwardPasses) {
  constexpr double kAttention = 2 * 128 * 16 * (48 + 16) + 128 * 2 * (2 * 16 * 16 + 4 * 8 * 8);
  constexpr double kFeedForward = 2 * 128 * 16 * 3 * 32;
  constexpr double kHead = 2 * 16 * 16 * 32;  // of 128 positions 16 are scored
  const PlannedTime time = planner().time({}, {.flops = 1e6, .efficiency = 0.5});
  EXPECT_DOUBLE_EQ(time.work, 3 * (kAttention + kFeedForward + kHead) / 0.5e6);
  EXPECT_DOUBLE_EQ(time.total(), time.work);
}

TEST_F(Plans, WaitForTheLargestShareOfRows) {
  const Planner small = planner({"train.batch=5"});
  const Machine machine{.ranks = 2, .flops = 1e6, .efficiency = 1};
  const PlannedTime alone = small.time({}, machine), two = small.time({.data = 2}, machine);
  EXPECT_DOUBLE_EQ(two.work, alone.work / 2);
  EXPECT_NEAR(two.idle, alone.work * 3 / 5 - alone.work / 2, 1e-9);
}

TEST_F(Plans, WaitForTheRankThatReadsMostInAttention) {
  const Machine machine{.ranks = 2, .flops = 1e6, .efficiency = 1};
  EXPECT_GT(planner({"model.blocks=[[attention]]"}).time({.sequence = 2}, machine).idle, 0);
}

TEST_F(Plans, HideGradientsBehindTheLastBackwardPass) {
  const Planner whole = planner(), parts = planner({"train.accumulation=2"});
  Machine machine{.ranks = 4, .node_bandwidth = 1e5, .flops = 1e9, .efficiency = 1};
  const Mesh mesh{.data = 4};
  const double sending = 18840 / 1e5 + 20e-6;  // 2 x 3 / 4 of the bucket
  const double compute = whole.time(mesh, machine).work + whole.time(mesh, machine).idle;
  EXPECT_NEAR(whole.time(mesh, machine).gradients, sending - compute * 2 / 3, 1e-9);
  EXPECT_NEAR(parts.time(mesh, machine).gradients, sending - compute * 2 / 3 / 2, 1e-9);
  machine.node_bandwidth = 1e12;
  EXPECT_EQ(whole.time(mesh, machine).gradients, 0);
}

TEST_F(Plans, SendThroughTheNetworkBeyondANode) {
  const Planner small = planner();
  const Machine machine{.ranks = 4, .node_ranks = 2, .bandwidth = 1e5, .node_bandwidth = 1e6};
  const PlannedTime time = small.time({.data = 2, .sequence = 2, .zero = 1}, machine);
  EXPECT_NEAR(time.parameters, 9420 / 1e5 + 20e-6, 1e-9);
  EXPECT_NEAR(time.sequence, 4096 / 1e6 + 2 * 20e-6, 1e-9);  // of one layer, there and back
}

TEST_F(Plans, FindTheFastestMeshThatFits) {
  const Planner small = planner();
  Machine machine{.ranks = 4, .memory = kPlenty};
  const Plan plenty = small.plan(machine);
  ASSERT_THAT(plenty.meshes, SizeIs(6));
  ASSERT_NE(plenty.best(), nullptr);
  EXPECT_EQ(plenty.nearest(), nullptr);
  EXPECT_EQ(plenty.best()->mesh.text(), "4 x 1");
  EXPECT_THAT(plenty.impossible, IsEmpty());

  machine.memory = small.memory({.data = 4, .zero = 1}).peak;
  const Plan scarce = small.plan(machine);
  ASSERT_NE(scarce.best(), nullptr);
  EXPECT_EQ(scarce.best()->mesh.zero, 1);
  ASSERT_NE(scarce.nearest(), nullptr);
  EXPECT_EQ(scarce.nearest()->limit, Limit::memory);
}

TEST_F(Plans, NameWhatLimitsAMesh) {
  const Planner even = planner(), uneven = planner({"train.batch=5"});
  const Mesh mesh{.data = 4};
  const Machine slow_network{.ranks = 4, .memory = kPlenty, .node_bandwidth = 1};
  const Machine slow_gpu{.ranks = 4, .memory = kPlenty, .flops = 1};
  EXPECT_EQ(even.plan(mesh, slow_network).limit, Limit::bandwidth);
  EXPECT_EQ(even.plan(mesh, slow_gpu).limit, Limit::compute);
  // Of nine rows one rank of eight has two: it computes almost twice as long as an even share.
  EXPECT_EQ(planner({"train.batch=9"}).plan({.data = 8}, slow_gpu).limit, Limit::compute);
  EXPECT_EQ(uneven.plan(mesh, {.ranks = 4, .memory = 1}).limit, Limit::memory);
}

TEST_F(Plans, NameProductsThatAreImpossible) {
  const Plan plan = planner().plan({.ranks = 32, .memory = kPlenty});
  ASSERT_THAT(plan.impossible, SizeIs(3));
  EXPECT_EQ(plan.impossible[0].mesh.data, 32);
  EXPECT_THAT(plan.impossible[0].reason, HasSubstr("train.batch 8"));
  EXPECT_EQ(plan.impossible[1].mesh.data, 16);
  EXPECT_EQ(plan.impossible[2].mesh.sequence, 32);
  EXPECT_THAT(plan.impossible[2].reason, HasSubstr("length of 16"));
}

// Sees the whole sequence at once.
struct NoOptions {
  void visit(Fields&) {}
};

class Mean final : public Mixer {
 public:
  Mean(const NoOptions&, const Place& place) : Mixer(place) {}
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override { return batch * length; }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span&) override { return x; }

 private:
  Traits traits_{.memory = Memory::none, .causal = false};
};

TEST_F(Plans, NameTheMixerThatCannotReadAPart) {
  Registry registry = builtin_registry();
  registry.add_mixer<Mean, NoOptions>("mean", "of all tokens");
  const Recipe read =
      recipe({"model.mixers.mean={kind: mean}", "model.blocks=[[ffn, mean]]"}, registry);
  const Plan plan = Planner(read, registry).plan({.ranks = 2, .memory = kPlenty});
  ASSERT_THAT(plan.impossible, SizeIs(1));
  EXPECT_EQ(plan.impossible[0].mesh.sequence, 2);
  EXPECT_THAT(plan.impossible[0].reason, HasSubstr("blocks.0.1"));
}

TEST_F(Plans, SayWhatWouldMakeAMeshFit) {
  const Planner small = planner({"task.length=256", "task.vocabulary=300"});
  Machine machine{.ranks = 1, .memory = small.memory({}).peak - 1};
  const Remedies close = small.remedies(machine);
  EXPECT_EQ(close.accumulation, 2);
  EXPECT_EQ(close.ranks, 2);
  machine.memory = 1;
  const Remedies none = small.remedies(machine);
  EXPECT_FALSE(none.accumulation);
  EXPECT_FALSE(none.ranks);
}

}  // namespace
}  // namespace echo
