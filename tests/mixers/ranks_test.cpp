// Sequences whose parts several ranks hold: what the program's mixers send, and models of them.
#include "framework/src/model/scoring.h"
#include "framework/src/ranks/local_communicator.h"
#include "framework/src/ranks/rank_stretch.h"
#include "tests/mixers/wrappers.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

constexpr double kTimeLimit = 60;
constexpr int64_t kBatch = 2;

// Bytes that a rank of three sends in one pass over T tokens of `kBatch` rows.
struct Sent {
  int64_t forward = 0;
  int64_t backward = 0;
};

Sent sent_by(const std::string& text, int64_t length) {
  std::vector<Sent> sent(3);
  const at::Tensor x = tokens(kBatch, length);
  run_local_ranks(3, kTimeLimit, [&](Communicator& ranks) {
    const auto mixer = made(text);
    const SequencePart part =
        part_of(host_offsets({}, {}, kBatch, length), length, ranks.rank(), 3);
    RankStretch stretch(ranks, part);
    const at::Tensor own_x = x.narrow(1, part.first(), part.count()).clone().requires_grad_(true);
    const at::Tensor y = (*mixer)(own_x, {.stretch = &stretch});
    Sent& own = sent[static_cast<size_t>(ranks.rank())];
    own.forward = ranks.bytes_sent();
    y.sum().backward();
    own.backward = ranks.bytes_sent() - own.forward;
  });
  for (const Sent& other : sent) EXPECT_EQ(other.forward, sent[0].forward) << text;
  return sent[0];
}

// A mixer sends so many float32 numbers per row to each other rank, in each direction, whatever T.
void expect_sent(const std::string& text, int64_t numbers) {
  for (const int64_t length : {24, 97, 192}) {
    const Sent sent = sent_by(text, length);
    EXPECT_EQ(sent.forward, (3 - 1) * kBatch * 4 * numbers) << text << ", T = " << length;
    EXPECT_EQ(sent.backward, sent.forward) << text << ", T = " << length;
  }
}

TEST(RanksTest, ShortConvSendsTheInputsThatItsTapsReach) {
  expect_sent("{kind: short_conv, kernel: 5}", 4 * 32);
  expect_sent("{kind: short_conv, kernel: 1}", 0);
}

TEST(RanksTest, Mamba2SendsItsStateADecayAndTheConvolutionsInputs) {
  const int64_t H = 4, P = 16, N = 12, channels = 64 + 2 * 2 * N;
  expect_sent("{kind: mamba2, head_width: 16, state: 12, groups: 2}",
              3 * channels + H * (P * N + 1));
}

TEST(RanksTest, Mamba3SendsItsStateADecayAnglesAndTheLastToken) {
  const int64_t H = 4, P = 16, N = 12, A = 3;
  expect_sent("{kind: mamba3, head_width: 16, state: 12}", H * (A + P) + N + H * (P * N + 1));
  expect_sent("{kind: mamba3, head_width: 16, state: 12, groups: 2, mimo_rank: 2}",
              H * (A + P) + 2 * 2 * N + H * (P * N + 1));
}

TEST(RanksTest, TheDeltaRulesSendAStateAMatrixAndTheConvolutionsInputs) {
  const int64_t G = 2, K = 8, V = 12;
  const std::string widths = "heads: 2, key_width: 8, value_width: 12";
  const auto numbers = [&](int64_t H) { return 3 * (2 * G * K + H * V) + H * K * (V + K); };
  expect_sent("{kind: gated_deltanet, value_heads: 4, " + widths + "}", numbers(4));
  expect_sent("{kind: kda, " + widths + "}", numbers(2));
  expect_sent("{kind: deltanet, " + widths + "}", numbers(2));
}

TEST(RanksTest, GlaSendsItsStateAndADecayPerChannelOfAKey) {
  expect_sent("{kind: gla, heads: 4, kv_heads: 2, key_width: 6, value_width: 8}", 2 * 6 * (8 + 1));
}

TEST(RanksTest, LinearAttentionSendsItsState) {
  expect_sent("{kind: linear_attention, heads: 4, kv_heads: 2}", 2 * 8 * 8);
  expect_sent("{kind: linear_attention, heads: 4, feature_map: elu, normalize: true}",
              4 * 8 * (8 + 1));
}

TEST(RanksTest, SkaSendsItsStatisticsAndTheKeysAtTheBorders) {
  const int64_t H = 2, R = 6, P = 16;
  expect_sent("{kind: ska, heads: 2, rank: 6}", H * (2 * R * R + P * R + 2 * R));
  expect_sent("{kind: ska, heads: 2, rank: 6, power: 0}", H * (R * R + P * R));
  expect_sent("{kind: ska, heads: 2, rank: 6, power: 0, value_lag: true}",
              H * (R * R + P * R + 2 * R + P));
}

TEST(RanksTest, AttentionSendsTheKeysAndValuesThatLaterPartsMayRead) {
  const std::string heads = "{kind: attention, heads: 4, kv_heads: 2";
  expect_sent(heads + ", window: 8}", 7 * 2 * 2 * 8);
  expect_sent(heads + ", window: 1}", 0);
  for (const int64_t length : {24, 97, 192}) {
    const Sent sent = sent_by(heads + "}", length);
    EXPECT_EQ(sent.forward, 2 * kBatch * 4 * 2 * 2 * 8 * ((length + 2) / 3));
    EXPECT_EQ(sent.backward, sent.forward);
  }
}

TEST(RanksTest, ChannelMixersSendNothing) {
  expect_sent("{kind: swiglu, hidden: 24}", 0);
  expect_sent("{kind: koopman_ffn, hidden: 24}", 0);
}

TEST(RanksTest, WrappersSendWhatTheirMixersSend) {
  expect_sent(
      "{kind: parallel, mixers: [{kind: short_conv, kernel: 3}, {kind: linear_attention, "
      "heads: 4}]}",
      2 * 32 + 4 * 8 * 8);
  expect_sent(
      "{kind: check, mixers: [{kind: ska, heads: 2, rank: 6, power: 0}, {kind: ska, heads: "
      "2, rank: 6, power: 0}]}",
      2 * 2 * (36 + 96));
}

TEST(RanksTest, AMixerThatDoesNotClaimItIsNotSplit) {
  const auto mixer = made("{kind: ska, heads: 2, mode: prefix}");
  EXPECT_FALSE(mixer->traits().stretch);
}

// Float32 to its rounding: a long sequence on four ranks against one.
TEST(RanksTest, LongSequencesAgreeInFloat32) {
  c10::NoGradGuard no_grad;
  const int64_t length = 3001;
  const at::Tensor x = tokens(1, length);
  for (const std::string& text :
       {std::string("{kind: mamba2, head_width: 16, state: 12}"),
        std::string("{kind: mamba3, head_width: 16, state: 12}"),
        std::string("{kind: gated_deltanet, heads: 2}"), std::string("{kind: kda, heads: 2}"),
        std::string("{kind: ska, heads: 2, rank: 6}"), std::string("{kind: gla, heads: 2}"),
        std::string("{kind: attention, heads: 4}"),
        std::string("{kind: attention, heads: 4, kv_heads: 2, window: 90}")}) {
    const at::Tensor whole = (*made(text))(x, {});
    std::vector<at::Tensor> parts(4);
    run_local_ranks(4, kTimeLimit, [&](Communicator& ranks) {
      c10::NoGradGuard also_here;
      const SequencePart part = part_of(host_offsets({}, {}, 1, length), length, ranks.rank(), 4);
      RankStretch stretch(ranks, part);
      parts[static_cast<size_t>(ranks.rank())] =
          (*made(text))(x.narrow(1, part.first(), part.count()), {.stretch = &stretch});
    });
    EXPECT_LE(testing::rms_ratio(at::cat(parts, 1), whole), 2e-5) << text;
  }
}

BranchRecipe branch_of(const std::string& text, const Place& place) {
  MixerChoice choice = chosen(text);
  choice.complete(place, "mixer");
  return {.mixer_name = "m",
          .mixer = {.kind = choice.kind.name,
                    .options = std::shared_ptr<const Options>(std::move(choice.options))}};
}

std::unique_ptr<Model> hybrid() {
  const Place place{.width = 32};
  const auto branch = [&](const std::string& text) { return branch_of(text, place); };
  ModelRecipe recipe;
  recipe.width = 32;
  recipe.vocabulary = 11;
  recipe.dropout = 0.2;
  recipe.positions = {.kind = PositionsKind::learned, .length = 100};
  recipe.blocks = {{branch("{kind: short_conv}"), branch("{kind: attention, heads: 4}")},
                   {branch("{kind: mamba3, head_width: 16, state: 12}"), branch("{kind: swiglu}")},
                   {branch("{kind: parallel, mixers: [{kind: ska, heads: 2, rank: 6}, {kind: gla, "
                           "heads: 2}]}"),
                    branch("{kind: gated_deltanet, heads: 2}")}};
  auto model = std::make_unique<Model>(recipe, builtin_registry(),
                                       at::TensorOptions().dtype(at::kDouble), at::kDouble);
  initialize(*model, 1);
  return model;
}

Batch documents(int64_t length) {
  at::Generator stream = generator(3, "batch");
  Batch batch;
  batch.inputs = at::empty({2, length}, at::kLong).random_(0, 11, stream);
  batch.labels = at::empty({2, length}, at::kLong).random_(0, 11, stream);
  batch.labels.narrow(1, 0, length / 3).fill_(-100);  // a rank without a scored token
  batch.starts = at::zeros({2, length}, at::kBool);
  for (const int64_t t : {0, 9, 30, 31}) batch.starts[0][t] = true;
  batch.lengths = at::tensor(std::vector<int64_t>{length, length - 20}, at::kLong);
  for (int64_t t = length - 20; t < length; ++t) batch.labels[1][t] = -100;
  return batch;
}

TEST(RanksTest, AModelOnFourRanksLosesAndLearnsWhatItDoesOnOne) {
  const Batch batch = documents(61);
  const Dropout dropout{.seed = 4, .first_sample = 10};
  const auto gradients_of = [](const Model& model) {
    std::map<std::string, at::Tensor> all;
    for (const Parameter& parameter : model.parameters()) {
      const at::Tensor gradient = parameter.gradient();
      all[parameter.name] =
          gradient.defined() ? gradient.clone() : at::zeros_like(parameter.value());
    }
    return all;
  };
  const auto model = hybrid();
  const PlacedBatch whole = place(batch, at::kCPU);
  ModelSpan span = whole.span();
  span.dropout = &dropout;
  const at::Tensor loss = loss_sum(*model, whole, span);
  loss.backward();
  const auto expected = gradients_of(*model);

  std::vector<at::Tensor> losses(4);
  std::vector<std::map<std::string, at::Tensor>> gradients(4);
  run_local_ranks(4, kTimeLimit, [&](Communicator& ranks) {
    const auto own = hybrid();
    const PlacedBatch placed = place_part(batch, ranks.rank(), ranks.size(), at::kCPU);
    RankStretch stretch(ranks, placed.part);
    ModelSpan here = placed.span();
    here.stretch = &stretch;
    here.dropout = &dropout;
    const auto rank = static_cast<size_t>(ranks.rank());
    const at::Tensor sum = loss_sum(*own, placed, here);
    sum.backward();
    losses[rank] = sum.detach();
    gradients[rank] = gradients_of(*own);
  });
  EXPECT_LE(testing::rms_ratio(at::stack(losses).sum(), loss), 1e-10);
  for (const auto& [name, gradient] : expected) {
    at::Tensor sum = at::zeros_like(gradient);
    for (const auto& one : gradients) sum = sum + one.at(name);
    EXPECT_LE(testing::rms_ratio(sum, gradient), 1e-9) << name;
  }
}

}  // namespace
}  // namespace echo
