#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

// What chunk forms share.
namespace echo::ops {

// So many chunks of all rows are worked on at once: between them only a memory travels.
constexpr int64_t kChunksAtOnce = 64;

// x (B, T, ...) with `count` zeros behind its last token.
at::Tensor pad_time(const at::Tensor& x, int64_t count);

// Matrix products of (a, b, rows, n) and (a, b, n, columns).
at::Tensor product(const at::Tensor& left, const at::Tensor& right);

}  // namespace echo::ops
