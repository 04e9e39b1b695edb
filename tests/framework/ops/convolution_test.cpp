#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

namespace echo {
namespace {

at::Tensor starts_at(int64_t length, const std::vector<std::vector<int64_t>>& rows) {
  at::Tensor starts = at::zeros({static_cast<int64_t>(rows.size()), length}, at::kBool);
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const int64_t t : rows[row]) starts[static_cast<int64_t>(row)][t] = true;
  }
  return starts;
}

// Inputs: x, weight, bias, memory.
std::vector<at::Tensor> inputs(int64_t width, at::ScalarType dtype) {
  const at::ScalarType parameters = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return {random({2, 90, 11}, 1, dtype), random({11, 1, width}, 2, parameters),
          random({11}, 3, parameters), random({2, 11, width - 1}, 4, dtype)};
}

at::Tensor by_reference(const std::vector<at::Tensor>& in, const at::Tensor& starts) {
  at::Tensor reach;
  if (starts.defined()) {
    const at::Tensor far = at::full({2}, in[1].size(2), at::kLong);
    reach = token_positions(far, starts, in[0].size(1));
  }
  return reference::convolve(at::cat({in[3].transpose(1, 2), in[0]}, 1), in[1], in[2], reach);
}

TEST(ConvolutionTest, EqualsItsReference) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int64_t width : {1, 2, 4, 7}) {
      const Function kernel = [](const auto& in) {
        return std::vector{causal_convolution(in[0], in[1], in[2], in[3], {}).y};
      };
      const Function reference = [](const auto& in) { return std::vector{by_reference(in, {})}; };
      std::vector<at::Tensor> all = inputs(width, dtype);
      if (width == 1) all[3] = at::zeros({2, 11, 0}, all[3].options());
      const Evaluated a = evaluate(kernel, all);
      const Evaluated b = evaluate(reference, all);
      EXPECT_LE(testing::rms_ratio(a.outputs[0], b.outputs[0]), rounding(dtype));
      for (size_t i = 0; i < (width == 1 ? 3 : 4); ++i)
        EXPECT_LE(testing::rms_ratio(a.gradients[i], b.gradients[i]), rounding(dtype));
    }
  }
}

TEST(ConvolutionTest, StartsCutTheTapsAsInTheReference) {
  const at::Tensor starts = starts_at(90, {{0, 1, 5, 80}, {2}});
  expect_equal(
      [&](const auto& in) {
        return std::vector{causal_convolution(in[0], in[1], in[2], in[3], {.starts = starts}).y};
      },
      [&](const auto& in) { return std::vector{by_reference(in, starts)}; }, inputs(4, at::kDouble),
      1e-14);
}

TEST(ConvolutionTest, ReadsStridedChannelsAndNeedsNoBiasOrMemory) {
  const auto channels = [](const at::Tensor& x) { return x.narrow(2, 3, 5); };
  expect_equal(
      [&](const auto& in) {
        return std::vector{causal_convolution(channels(in[0]), in[1], {}, {}, {}).y};
      },
      [&](const auto& in) {
        return std::vector{reference::convolve(
            at::cat({at::zeros({2, 2, 5}, at::kDouble), channels(in[0])}, 1), in[1], {}, {})};
      },
      {random({2, 20, 11}, 5), random({5, 1, 3}, 6)}, 1e-14);
}

// The memory after a stretch is what single tokens leave, with starts and padding.
TEST(ConvolutionTest, MemoryEqualsThatOfSingleTokens) {
  const at::Tensor starts = starts_at(12, {{3}, {10}, {0, 11}});
  const std::vector<int64_t> counts = {12, 10, 1};
  const at::Tensor lengths = at::tensor(counts, at::kLong);
  const at::Tensor x = random({3, 12, 2}, 1);
  const at::Tensor weight = random({2, 1, 4}, 2);
  const at::Tensor memory = random({3, 2, 3}, 3);
  const at::Tensor whole =
      causal_convolution(x, weight, {}, memory, {.starts = starts, .lengths = lengths}).memory;
  for (int64_t row = 0; row < 3; ++row) {
    at::Tensor one = memory.narrow(0, row, 1);
    for (int64_t t = 0; t < counts[static_cast<size_t>(row)]; ++t) {
      const Span span{.starts = starts.narrow(0, row, 1).narrow(1, t, 1)};
      one = causal_convolution(x.narrow(0, row, 1).narrow(1, t, 1), weight, {}, one, span).memory;
    }
    EXPECT_TRUE(at::equal(whole.narrow(0, row, 1), one)) << "row " << row;
  }
}

TEST(ConvolutionTest, MemoryDoesNotHoldTheStretch) {
  const at::Tensor memory = causal_convolution(random({1, 1000, 2}, 1), random({2, 1, 3}, 2), {},
                                               at::zeros({1, 2, 2}, at::kDouble), {})
                                .memory;
  EXPECT_EQ(memory.storage().nbytes(), memory.nbytes());
}

TEST(ConvolutionTest, RefusesAWeightOfOtherChannels) {
  EXPECT_THROW(causal_convolution(at::ones({1, 4, 3}), at::ones({2, 1, 3}), {}, {}, {}),
               std::logic_error);
}

}  // namespace
}  // namespace echo
