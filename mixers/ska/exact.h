#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// What a token reads: y = C G^-1 (M G^-1)^power q, with value_lag C+ in place of C.
struct Reading {
  int64_t power = 1;
  bool value_lag = false;
  double ridge = 0.1;
};

// The sums over all tokens so far (B batch, H heads, R rank, P value width).
struct Statistics {
  at::Tensor G;  // (B, H, R, R) ridge I + sum z_t z_t^T
  at::Tensor M;  // (B, H, R, R) sum z_t z_{t-1}^T; undefined at power 0
  at::Tensor C;  // (B, H, P, R) sum v_t z_t^T; with value_lag C+ = sum v_t z_{t-1}^T
};

// Tokens per chunk where nothing else decides.
constexpr int64_t kChunk = 32;

// A stretch of tokens as N chunks of S tokens; zeros fill the last one up.
struct Chunks {
  at::Tensor keys;     // (N, B, H, S + 1, R); row 0 is the key before the chunk
  at::Tensor queries;  // (N, B, H, S, R)
  at::Tensor values;   // (N, B, H, S, P)
  at::Tensor starts;   // (N, B, S) bool: statistics are emptied before this token; or undefined
  // The read gate: C is applied to plain_t G^-1 q + filtered_t G^-1 (M G^-1)^power q. Or undefined.
  at::Tensor plain, filtered;  // (N, B, H, S, 1)
};

// What every token reads from the statistics up to and including itself, in the chunk-parallel form
// of the README: y (N, B, H, S, P). Moves the statistics to the end of the stretch. Differentiable
// in all tensors; the backward is written by hand and refuses to give a second derivative.
at::Tensor read_exact(const Chunks& chunks, const Reading& reading, Statistics& statistics);

}  // namespace echo::ska
