// The sequence primitives over parts of sequences, against the whole.
#include "tests/framework/ranks/parts.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

using at::Tensor;

Tensor log_decays(at::IntArrayRef shape, uint64_t seed) {
  return random(shape, seed).abs().mul_(-0.1);
}

TEST(StretchedOps, CausalConvolution) {
  for (const int64_t width : {1, 2, 6}) {  // more than a part of few tokens has
    const Tensor weight = random({3, 1, width}, 1), bias = random({3}, 2);
    expect_parts_equal_everywhere(
        [&](const std::vector<Tensor>& in, const Span& span) {
          const auto dtype = in[0].scalar_type();
          return causal_convolution(in[0], weight.to(dtype), bias.to(dtype), {}, span).y;
        },
        [](int64_t length) {
          return std::vector<Tensor>{random({2, length, 3}, 3)};
        });
  }
}

TEST(StretchedOps, LinearAttention) {
  expect_parts_equal_everywhere(
      [](const std::vector<Tensor>& in, const Span& span) {
        return linear_attention(in[0], in[1], in[2], {}, span).o;
      },
      [](int64_t length) {
        return std::vector<Tensor>{random({2, length, 4, 5}, 1), random({2, length, 2, 5}, 2),
                                   random({2, length, 2, 3}, 3)};
      });
}

TEST(StretchedOps, StateSpaceScan) {
  for (const OwnToken own : {OwnToken::read, OwnToken::skipped}) {
    for (const int64_t ranks : {1, 2}) {
      expect_parts_equal_everywhere(
          [&](const std::vector<Tensor>& in, const Span& span) {
            return state_space_scan(in[0], in[1], in[2], in[3], {}, span, own).y;
          },
          [&](int64_t length) {
            return std::vector<Tensor>{
                random({2, length, ranks, 4, 3}, 1), log_decays({2, length, 4}, 2),
                random({2, length, ranks, 2, 5}, 3), random({2, length, ranks, 2, 5}, 4)};
          });
    }
  }
}

TEST(StretchedOps, GatedLinearAttention) {
  expect_parts_equal_everywhere(
      [](const std::vector<Tensor>& in, const Span& span) {
        return gated_linear_attention(in[0], in[1], in[2], in[3], {}, span).o;
      },
      [](int64_t length) {
        return std::vector<Tensor>{random({2, length, 4, 5}, 1), random({2, length, 2, 5}, 2),
                                   random({2, length, 2, 3}, 3), log_decays({2, length, 2, 5}, 4)};
      });
}

// Keys of length 1, as the mixers give: else the recurrence grows.
std::vector<Tensor> delta_inputs(int64_t length) {
  return {random({2, length, 2, 5}, 1), l2_normalize(random({2, length, 2, 5}, 2)),
          random({2, length, 4, 3}, 3), random({2, length, 4}, 4).sigmoid()};
}

TEST(StretchedOps, DeltaRule) {
  expect_parts_equal_everywhere(
      [](const std::vector<Tensor>& in, const Span& span) {
        return gated_delta_rule(in[0], in[1], in[2], {}, in[3], {}, span).o;
      },
      delta_inputs);
}

TEST(StretchedOps, DeltaRuleWithADecayPerHead) {
  expect_parts_equal_everywhere(
      [](const std::vector<Tensor>& in, const Span& span) {
        return gated_delta_rule(in[0], in[1], in[2], in[4], in[3], {}, span).o;
      },
      [](int64_t length) {
        std::vector<Tensor> inputs = delta_inputs(length);
        inputs.push_back(log_decays({2, length, 4}, 5));
        return inputs;
      });
}

TEST(StretchedOps, DeltaRuleWithADecayPerChannel) {
  expect_parts_equal_everywhere(
      [](const std::vector<Tensor>& in, const Span& span) {
        return gated_delta_rule(in[0], in[1], in[2], in[4], in[3], {}, span).o;
      },
      [](int64_t length) {
        std::vector<Tensor> inputs = delta_inputs(length);
        inputs.push_back(log_decays({2, length, 4, 5}, 5));
        return inputs;
      });
}

}  // namespace
}  // namespace echo
