#include "framework/src/files/safetensors.h"
#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

enum class Rates { none, of_heads, of_channels };

struct Shape {
  int64_t length;
  Rates rates = Rates::of_heads;
  int64_t heads = 2, groups = 2;
  double decay = -0.3;  // mean of the log decays
  double beta = 1;      // largest
};

constexpr int64_t kKeys = 5, kValues = 3;

at::Tensor decays(const Shape& shape) {
  if (shape.rates == Rates::none) return {};
  std::vector<int64_t> sizes = {2, shape.length, shape.heads};
  if (shape.rates == Rates::of_channels) sizes.push_back(kKeys);
  return random(sizes, 2).abs().mul(shape.decay * 1.25);
}

// q, k, v, beta, memory and, where there are any, log decays
std::vector<at::Tensor> inputs(const Shape& shape) {
  const int64_t T = shape.length;
  const auto normal = [](const at::Tensor& x) { return l2_normalize(x); };
  std::vector<at::Tensor> in = {normal(random({2, T, shape.groups, kKeys}, 1)),
                                normal(random({2, T, shape.groups, kKeys}, 3)),
                                random({2, T, shape.heads, kValues}, 4),
                                random({2, T, shape.heads}, 6).sigmoid() * shape.beta,
                                random({2, shape.heads, kKeys, kValues}, 5)};
  if (shape.rates != Rates::none) in.push_back(decays(shape));
  return in;
}

using Rule = Attended (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                          const at::Tensor&, const at::Tensor&, const at::Tensor&, const Span&);

// Outputs of padding count for nothing.
std::vector<at::Tensor> valid(const Attended& attended, const Span& span) {
  at::Tensor o = attended.o;
  if (span.lengths.defined()) {
    const at::Tensor t = at::arange(o.size(1));
    o = o.masked_fill((t >= span.lengths.unsqueeze(1)).view({2, -1, 1, 1}), 0);
  }
  return {o, attended.memory};
}

Function with(Rule rule, const Span& span) {
  return [&span, rule](const std::vector<at::Tensor>& in) {
    const at::Tensor g = in.size() > 5 ? in[5] : at::Tensor();
    return valid(rule(in[0], in[1], in[2], g, in[3], in[4], span), span);
  };
}

void expect_chunks_equal_tokens(const Shape& shape, const Span& span = {}) {
  expect_equal(with(gated_delta_rule, span), with(reference::gated_delta_rule, span), inputs(shape),
               1e-10);
}

constexpr Rates kRates[] = {Rates::none, Rates::of_heads, Rates::of_channels};

TEST(DeltaRuleTest, ChunksEqualTokens) {
  for (const Rates rates : kRates) {
    for (const int64_t length : {1, 2, 5, 63, 64, 65, 150})
      expect_chunks_equal_tokens({length, rates});
  }
}

TEST(DeltaRuleTest, HeadsReadTheirGroup) {
  for (const Rates rates : kRates) {
    expect_chunks_equal_tokens({.length = 70, .rates = rates, .heads = 6, .groups = 2});
    expect_chunks_equal_tokens({.length = 70, .rates = rates, .heads = 3, .groups = 1});
  }
}

TEST(DeltaRuleTest, EigenvaluesMayBeNegative) {
  for (const Rates rates : kRates)
    expect_chunks_equal_tokens({.length = 100, .rates = rates, .beta = 2});
}

TEST(DeltaRuleTest, StartsEmptyTheMemory) {
  for (const Rates rates : kRates) {
    for (const int64_t length : {1, 64, 150})
      expect_chunks_equal_tokens({length, rates}, {.starts = some_starts(length)});
  }
}

TEST(DeltaRuleTest, PaddingLeavesTheMemoryAlone) {
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{120, 0}, at::kLong);
  for (const Rates rates : kRates) {
    expect_chunks_equal_tokens({150, rates}, {.lengths = lengths});
    expect_chunks_equal_tokens({150, rates}, {.starts = some_starts(150), .lengths = lengths});
  }
}

TEST(DeltaRuleTest, NothingOverflowsWhereAChunkForgetsEverything) {
  const Span starts{.starts = some_starts(130)};
  for (const Rates rates : {Rates::of_heads, Rates::of_channels}) {
    for (const double decay : {-60.0, -5.0, -1e-12}) {
      expect_chunks_equal_tokens({.length = 130, .rates = rates, .decay = decay});
      expect_chunks_equal_tokens({.length = 130, .rates = rates, .decay = decay}, starts);
    }
  }
}

TEST(DeltaRuleTest, StrongDecaysStayFiniteInFloat32) {
  // Running sums of a chunk reach 64 decays; half a unit in their last place is an error of a pair
  // between which little is forgotten.
  constexpr double kRounding = 0x1p-24;
  for (const Rates rates : {Rates::of_heads, Rates::of_channels}) {
    for (const double decay : {-60.0, -5.0}) {
      std::vector<at::Tensor> in = inputs({.length = 130, .rates = rates, .decay = decay});
      const Span span;
      const Evaluated exact = evaluate(with(reference::gated_delta_rule, span), in);
      for (at::Tensor& tensor : in) tensor = tensor.to(at::kFloat);
      const Evaluated found = evaluate(with(gated_delta_rule, span), in);
      EXPECT_LT(testing::rms_ratio(found.outputs[0], exact.outputs[0]), -64 * decay * kRounding);
      for (const at::Tensor& gradient : found.gradients)
        EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    }
  }
}

TEST(DeltaRuleTest, PiecesFollowEachOther) {
  // More chunks than are worked on at once.
  for (const Rates rates : kRates)
    expect_chunks_equal_tokens({.length = 2100, .rates = rates, .heads = 1, .groups = 1});
}

TEST(DeltaRuleTest, AFewTokensAreReadInPlace) {
  c10::NoGradGuard no_grad;
  const at::Tensor starts = at::tensor({0, 0, 1, 0, 0, 0, 0, 0}).to(at::kBool).view({2, 4});
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{4, 2}, at::kLong);
  const Span span{.starts = starts, .lengths = lengths};
  for (const Rates rates : kRates) {
    std::vector<at::Tensor> in = inputs({.length = 4, .rates = rates, .heads = 4});
    const auto expected = with(reference::gated_delta_rule, span)(in);
    const auto result = with(gated_delta_rule, span)(in);
    EXPECT_LT(testing::rms_ratio(result[0], expected[0]), 1e-14);
    EXPECT_LT(testing::rms_ratio(in[4], expected[1]), 1e-14);
    EXPECT_TRUE(result[1].is_same(in[4]));
  }
}

TEST(DeltaRuleTest, WithoutAMemoryItBeginsEmptyAndReturnsNone) {
  const std::vector<at::Tensor> in = inputs({100});
  const Attended without = gated_delta_rule(in[0], in[1], in[2], in[5], in[3], {}, {});
  const Attended with =
      gated_delta_rule(in[0], in[1], in[2], in[5], in[3], at::zeros_like(in[4]), {});
  EXPECT_LT(testing::rms_ratio(without.o, with.o), 1e-14);
  EXPECT_FALSE(without.memory.defined());
}

// The recurrences alone, by the code of their authors.
void expect_as_in(const char* name, double tolerance, double of_gradients, at::ScalarType dtype) {
  const auto file =
      read_safetensors(std::filesystem::path(ECHO_SOURCE_DIR) / "tests/golden" / name);
  std::vector<std::pair<std::string, at::Tensor>> leaves;
  const auto load = [&](const char* tensor) {
    if (!file.tensors.count(tensor)) return at::Tensor();
    leaves.emplace_back(std::string("d_") + tensor,
                        file.tensors.at(tensor).to(dtype).detach().requires_grad_(true));
    return leaves.back().second;
  };
  const at::Tensor q = load("q"), k = load("k"), v = load("v"), g = load("g");
  const at::Tensor beta = load("beta"), memory = load("S0");
  const Attended found =
      gated_delta_rule(q / std::sqrt(static_cast<double>(q.size(3))), k, v, g, beta, memory, {});
  EXPECT_LT(testing::rms_ratio(found.o, file.tensors.at("y")), tolerance);
  EXPECT_LT(testing::rms_ratio(found.memory, file.tensors.at("state.S")), tolerance);
  ((found.o * file.tensors.at("w")).sum() + (found.memory * file.tensors.at("w_S")).sum())
      .backward();
  for (const auto& [gradient, leaf] : leaves)
    EXPECT_LT(testing::rms_ratio(leaf.grad(), file.tensors.at(gradient)), of_gradients) << gradient;
}

TEST(DeltaRuleTest, ComputesWhatTheReferencesDo) {
  for (const char* name :
       {"gdn_core.safetensors", "kda_core.safetensors", "deltanet_core.safetensors"}) {
    SCOPED_TRACE(name);
    expect_as_in(name, 1e-6, 1e-6, at::kDouble);
    expect_as_in(name, 1e-5, 1e-4, at::kFloat);
  }
}

// q, k, v, g, memory
std::vector<at::Tensor> attention_inputs(int64_t length, int64_t groups, double decay) {
  return {random({2, length, 4, kKeys}, 1), random({2, length, groups, kKeys}, 2),
          random({2, length, groups, kValues}, 3),
          random({2, length, groups, kKeys}, 4).abs().mul(decay),
          random({2, 4, kKeys, kValues}, 5)};
}

using Attention = Attended (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               const at::Tensor&, const at::Tensor&, const Span&);

Function attend_with(Attention attention, const Span& span) {
  return [&span, attention](const std::vector<at::Tensor>& in) {
    return valid(attention(in[0], in[1], in[2], in[3], in[4], span), span);
  };
}

void expect_attention_equals_tokens(int64_t length, int64_t groups = 4, double decay = -0.3,
                                    const Span& span = {}) {
  expect_equal(attend_with(gated_linear_attention, span),
               attend_with(reference::gated_linear_attention, span),
               attention_inputs(length, groups, decay), 1e-10);
}

TEST(GatedLinearAttentionTest, ChunksEqualTokens) {
  for (const int64_t length : {1, 3, 64, 130}) expect_attention_equals_tokens(length);
}

TEST(GatedLinearAttentionTest, HeadsReadTheirGroup) {
  expect_attention_equals_tokens(70, 2);
  expect_attention_equals_tokens(70, 1);
}

TEST(GatedLinearAttentionTest, StrongAndWeakDecaysStartsAndPaddingMeet) {
  const Span span{.starts = some_starts(130),
                  .lengths = at::tensor(std::vector<int64_t>{110, 0}, at::kLong)};
  for (const double decay : {-60.0, -5.0, -1e-12})
    expect_attention_equals_tokens(130, 2, decay, span);
}

TEST(GatedLinearAttentionTest, ATokenIsReadInPlace) {
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> in = attention_inputs(1, 2, -0.3);
  const Span span;
  const auto expected = attend_with(reference::gated_linear_attention, span)(in);
  const auto result = attend_with(gated_linear_attention, span)(in);
  EXPECT_LT(testing::rms_ratio(result[0], expected[0]), 1e-14);
  EXPECT_LT(testing::rms_ratio(in[4], expected[1]), 1e-14);
  EXPECT_TRUE(result[1].is_same(in[4]));
}

}  // namespace
}  // namespace echo
