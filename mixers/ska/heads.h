#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// Keys, queries or values of a stretch as their projection gives them, and what scales them: row
// (b, t, h) stands for weight[b, t, h] * l2(row), or weight * row where `normalise` is false;
// l2(x) = x / sqrt(sum x^2 + 1e-6).
struct Heads {
  at::Tensor rows;    // (B, T, H, W), float32 or float64, any strides
  at::Tensor weight;  // (B, T, H), or undefined: 1
  bool normalise = true;
};

constexpr double kEpsilon = 1e-6;

// The scaled rows in the order of time, (B, T, H, W).
at::Tensor in_time(const Heads& heads);

// The scaled rows in N chunks of `size` tokens, the last one filled up with zeros: (N, B, H, S, W).
// With previous (B, H, W), the row before the stretch, every chunk begins with the row before it:
// (N, B, H, S + 1, W). One pass over memory each way on the CPU; differentiable once.
at::Tensor in_chunks(const Heads& heads, int64_t size, const at::Tensor& previous);

// The same in LibTorch's operators, on any device.
at::Tensor in_chunks_reference(const Heads& heads, int64_t size, const at::Tensor& previous);

// sqrt(sigmoid(logits)), finite with its derivative where the sigmoid underflows. (B, T, H).
at::Tensor root_of_sigmoid(const at::Tensor& logits);

// (B, T, ...) -> (N, B, S, ...), filled up with zeros. A view where T is a multiple of the size.
at::Tensor split_time(const at::Tensor& tensor, int64_t size);

// (N, B, H, S, W) -> (B, length, H, W)
at::Tensor join_time(const at::Tensor& chunks, int64_t length);

}  // namespace echo::ska
