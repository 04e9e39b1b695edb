#pragma once

#include <echo/ops.h>
#include <echo/random.h>
#include <echo/testing.h>

#include <functional>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {

// Outputs and gradients of sum(output * w) of a function of some tensors.
struct Evaluated {
  std::vector<at::Tensor> outputs;
  std::vector<at::Tensor> gradients;
};

using Function = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

inline Evaluated evaluate(const Function& function, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.detach().clone().requires_grad_(true));
  Evaluated result{function(leaves), {}};
  at::Tensor loss = at::zeros({}, at::kDouble);
  for (const at::Tensor& output : result.outputs) {
    // Not around zero: sums over tokens would cancel, and show nothing but rounding.
    const at::Tensor w =
        at::sin(at::arange(output.numel(), at::kDouble)).add_(0.5).view(output.sizes());
    loss = loss + (output.to(at::kDouble) * w).sum();
  }
  loss.backward();
  for (const at::Tensor& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

// A kernel against its reference, in value and gradient.
inline void expect_equal(const Function& kernel, const Function& reference,
                         const std::vector<at::Tensor>& inputs, double tolerance) {
  const Evaluated a = evaluate(kernel, inputs);
  const Evaluated b = evaluate(reference, inputs);
  for (size_t i = 0; i < b.outputs.size(); ++i)
    EXPECT_LE(testing::rms_ratio(a.outputs[i], b.outputs[i]), tolerance) << "output " << i;
  for (size_t i = 0; i < b.gradients.size(); ++i)
    EXPECT_LE(testing::rms_ratio(a.gradients[i], b.gradients[i]), tolerance) << "gradient " << i;
}

inline double rounding(at::ScalarType dtype) {
  if (dtype == at::kDouble) return 1e-14;
  return dtype == at::kFloat ? 2e-6 : 1e-2;
}

// Random numbers that every call with the same seed repeats.
inline at::Tensor random(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  at::Generator stream = generator(seed, "test");
  return at::empty(shape, at::kDouble).normal_(0, 1, stream).to(dtype);
}

// (2, T): around the edges of chunks, the first token among them.
inline at::Tensor some_starts(int64_t length) {
  at::Tensor starts = at::zeros({2, length}, at::kBool);
  for (const int64_t t : {0, 10, 63, 64, 100, 128}) {
    if (t < length) starts[0][t] = true;
  }
  if (length > 70) starts[1][70] = true;
  return starts;
}

}  // namespace echo
