#include "mixers/linear_attention/linear_attention.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {
namespace {

using FeatureMap = LinearAttentionOptions::FeatureMap;

TEST(LinearAttentionMixerTest, Conforms) {
  expect_conforms<LinearAttention>(LinearAttentionOptions{});
}

TEST(LinearAttentionMixerTest, ConformsWithGroupsAndOtherWidths) {
  expect_conforms<LinearAttention>(LinearAttentionOptions{.heads = 4,
                                                          .kv_heads = 2,
                                                          .key_width = 5,
                                                          .value_width = 3,
                                                          .feature_map = FeatureMap::identity});
}

TEST(LinearAttentionMixerTest, ConformsNormalized) {
  expect_conforms<LinearAttention>(LinearAttentionOptions{
      .heads = 2, .normalize = true, .normalize_q = true, .normalize_k = true});
}

TEST(LinearAttentionMixerTest, ConformsWithRelu) {
  expect_conforms<LinearAttention>(
      LinearAttentionOptions{.heads = 2, .feature_map = FeatureMap::relu, .normalize = true});
}

TEST(LinearAttentionMixerTest, RefusesASumOfWeightsThatCanVanish) {
  EXPECT_EQ(refusal<LinearAttentionOptions>(
                {.feature_map = FeatureMap::identity, .normalize = true}, "normalize"),
            "normalize divides by a sum of weights, which can vanish where features are negative; "
            "take feature_map relu or elu, or normalize: false");
}

TEST(LinearAttentionMixerTest, RefusesHeadsThatDoNotDivideTheWidth) {
  EXPECT_EQ(refusal<LinearAttentionOptions>({.heads = 5}, "heads"),
            "heads is 5, which does not divide the width 48; give key_width and value_width, or "
            "other heads");
}

TEST(LinearAttentionMixerTest, RefusesGroupsThatDoNotDivideTheHeads) {
  EXPECT_EQ(refusal<LinearAttentionOptions>({.heads = 6, .kv_heads = 4}, "kv_heads"),
            "kv_heads is 4, which does not divide the 6 heads");
}

TEST(LinearAttentionMixerTest, TheStateIsAsLargeAfterManyTokens) {
  c10::NoGradGuard no_grad;
  const auto mixer = make_mixer<LinearAttention>(
      LinearAttentionOptions{.heads = 2, .normalize = true}, {.width = 16});
  State state = mixer->initial_state({});
  const int64_t before = state.bytes();
  (*mixer)(at::ones({1, 1000, 16}), {.state = &state});
  EXPECT_EQ(before, 4 * 2 * 8 * (8 + 1));
  EXPECT_EQ(state.resident_bytes(), before);
  EXPECT_EQ(state.get("S").storage().nbytes() + state.get("z").storage().nbytes(),
            static_cast<size_t>(before));
}

}  // namespace
}  // namespace echo
