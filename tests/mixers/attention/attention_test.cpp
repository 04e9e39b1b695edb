#include "mixers/attention/attention.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {
namespace {

TEST(AttentionTest, Conforms) { expect_conforms<Attention>(AttentionOptions{}); }

TEST(AttentionTest, ConformsWithGroupsWindowAndNorms) {
  expect_conforms<Attention>(AttentionOptions{.heads = 6,
                                              .kv_heads = 2,
                                              .head_width = 8,
                                              .window = 9,
                                              .bias = true,
                                              .output_bias = true,
                                              .qk_norm = true});
}

TEST(AttentionTest, ConformsWithNormsOverAllHeads) {
  expect_conforms<Attention>(
      AttentionOptions{.heads = 4, .kv_heads = 2, .qk_norm = true, .qk_norm_over = NormSpan::all});
}

TEST(AttentionTest, ConformsWithGateAndPartOfTheHeadTurned) {
  expect_conforms<Attention>(AttentionOptions{
      .heads = 4, .kv_heads = 1, .rope_fraction = 0.5, .window = 33, .output_gate = true});
}

TEST(AttentionTest, ConformsWithoutPositions) {
  // Without positions a bias of the keys adds the same to all scores of a query.
  expect_conforms<Attention>(AttentionOptions{.heads = 2, .rope_theta = std::nullopt, .bias = true},
                             {.silent = {"k_proj.bias"}});
}

TEST(AttentionTest, RefusesGroupsThatDoNotDivideTheHeads) {
  EXPECT_EQ(refusal<AttentionOptions>({.heads = 6, .kv_heads = 4}, "kv_heads"),
            "kv_heads is 4, which does not divide the 6 heads");
}

TEST(AttentionTest, RefusesHeadsThatDoNotDivideTheWidth) {
  EXPECT_EQ(refusal<AttentionOptions>({.heads = 5}, "heads"),
            "heads is 5, which does not divide the width 48; give head_width, or other heads");
}

TEST(AttentionTest, RefusesAnOddNumberOfTurnedDimensions) {
  EXPECT_EQ(refusal<AttentionOptions>({.heads = 4, .rope_fraction = 0.25}, "rope_fraction"),
            "rotary positions turn pairs, and this fraction of a head's 12 dimensions is 3; make "
            "it an even number, or rope_theta null");
}

TEST(AttentionTest, KeepsNoMoreThanTheWindow) {
  const auto mixer =
      make_mixer<Attention>(AttentionOptions{.heads = 2, .window = 16}, {.width = 32});
  const State state = mixer->initial_state({.batch = 3, .capacity = 1000});
  EXPECT_EQ(state.bytes(), 2 * 3 * 32 * 16 * 4);
  EXPECT_EQ(mixer->traits().memory, Memory::constant);
}

TEST(AttentionTest, StartsWithTheCapacityAskedForAndDoublesBeyond) {
  c10::NoGradGuard no_grad;
  const auto mixer = make_mixer<Attention>(AttentionOptions{.heads = 2}, {.width = 32});
  State state = mixer->initial_state({.batch = 1, .capacity = 10});
  const Span span{.state = &state};
  (*mixer)(at::ones({1, 10, 32}), span);
  EXPECT_EQ(state.get("k").size(2), 10);
  (*mixer)(at::ones({1, 1, 32}), span);
  EXPECT_EQ(state.get("k").size(2), 20);
}

TEST(AttentionTest, WritesInPlaceWithGradientsOff) {
  c10::NoGradGuard no_grad;
  const auto mixer = make_mixer<Attention>(AttentionOptions{.heads = 2}, {.width = 32});
  State state = mixer->initial_state({.batch = 2, .capacity = 8});
  const void* const before = state.get("k").const_data_ptr();
  const Span span{.state = &state};
  (*mixer)(at::ones({2, 4, 32}), span);
  for (int t = 0; t < 4; ++t) (*mixer)(at::ones({2, 1, 32}), span);
  EXPECT_EQ(state.get("k").const_data_ptr(), before);
}

// Every token reads the others by the definition of the specification, in float64.
at::Tensor by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         int64_t window) {
  const int64_t length = q.size(2);
  const at::Tensor t = at::arange(length);
  const at::Tensor distance = t.unsqueeze(1) - t.unsqueeze(0);
  const at::Tensor seen = (distance >= 0).logical_and(distance < window);
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(double(q.size(3)));
  return at::matmul(at::softmax(scores.masked_fill(seen.logical_not(), -INFINITY), -1), v);
}

at::Tensor parameter_value(const Mixer& mixer, const std::string& name) {
  for (const Parameter& parameter : mixer.parameters()) {
    if (parameter.name == name) return parameter.value();
  }
  return {};
}

TEST(AttentionTest, LongWindowsEqualTheDefinition) {
  c10::NoGradGuard no_grad;
  const int64_t length = 1500;
  const Place place{.width = 8, .options = at::TensorOptions().dtype(at::kDouble)};
  for (const int64_t window : {1, 70, 257, 1000}) {
    const auto mixer = make_mixer<Attention>(
        AttentionOptions{.heads = 2, .rope_theta = std::nullopt, .window = window}, place);
    const at::Tensor x = at::randn({1, length, 8}, at::kDouble);
    const auto heads = [&](const char* name) {
      return at::linear(x, parameter_value(*mixer, name).mul_(20))
          .view({1, length, 2, 4})
          .transpose(1, 2);
    };
    const at::Tensor q = heads("q_proj.weight");
    const at::Tensor k = heads("k_proj.weight");
    const at::Tensor v = heads("v_proj.weight");
    const at::Tensor expected =
        at::linear(by_definition(q, k, v, window).transpose(1, 2).flatten(2),
                   parameter_value(*mixer, "o_proj.weight"));
    EXPECT_LT(testing::rms_ratio((*mixer)(x, {}), expected), 1e-12) << "window " << window;
  }
}

TEST(AttentionTest, GradientsOfLongWindowsEqualThoseOfAMask) {
  // The joined pieces of long stretches against a window beyond the stretch, cut by hand.
  const int64_t length = 700;
  const Place place{.width = 8, .options = at::TensorOptions().dtype(at::kDouble)};
  const AttentionOptions options{.heads = 2, .kv_heads = 1, .window = 90};
  const auto gradient = [&](const std::vector<int64_t>& cuts) {
    const auto mixer = make_mixer<Attention>(options, place);
    at::Tensor x = at::sin(at::arange(length * 8, at::kDouble)).view({1, length, 8});
    x.requires_grad_(true);
    State state = mixer->initial_state({.dtype = at::kDouble});
    at::Tensor loss = at::zeros({}, at::kDouble);
    int64_t first = 0;
    for (const int64_t cut : cuts) {
      loss = loss + (*mixer)(x.narrow(1, first, cut - first), {.state = &state}).square().sum();
      first = cut;
    }
    loss.backward();
    return x.grad();
  };
  EXPECT_LT(testing::rms_ratio(gradient({length}),
                               gradient({50, 100, 150, 240, 330, 400, 480, 560, 640, length})),
            1e-10);
}

TEST(AttentionTest, PositionsKeepTheirDigitsBeyondAMillion) {
  c10::NoGradGuard no_grad;
  const AttentionOptions options{.heads = 1, .window = 4};
  const auto mixer = make_mixer<Attention>(options, {.width = 16});
  const at::Tensor x = at::sin(at::arange(8 * 16, at::kFloat)).view({1, 8, 16}) * 30;
  const auto after = [&](int64_t position) {
    State state = mixer->initial_state({});
    state.set_position(at::full({1}, position, at::kLong), position);
    // What the empty ring is thought to hold is out of the window after four tokens.
    return (*mixer)(x, {.state = &state}).narrow(1, 4, 4);
  };
  // Scores depend on the distance of two tokens, not on where they stand.
  EXPECT_LT(testing::rms_ratio(after(3'000'000), after(0)), 1e-4);
}

}  // namespace
}  // namespace echo
