#pragma once

#include "mixers/mamba3/rotation.h"

#include <ATen/core/Tensor.h>

// One token of Mamba-3 between its two linear maps, in one pass on the CPU.
namespace echo::mamba3 {

// The layer's tensors, contiguous and of one dtype, float32 or float64.
struct Layer {
  at::Tensor dt_bias, D;              // (H)
  at::Tensor B_norm, C_norm;          // (N)
  at::Tensor B_bias, C_bias;          // (H, R, N)
  at::Tensor mimo_x, mimo_z, mimo_o;  // (H, R, P), or undefined: R is 1
  at::Tensor norm;                    // (d_in), or undefined
  int64_t groups;
  bool softplus_decay;  // else heavy
  double decay_floor;
  double norm_eps;
  Pairing pairing;
};

// What the layer remembers; written in place.
struct StepMemory {
  at::Tensor ssm;    // (B, H, P, N)
  at::Tensor k;      // (B, R, H, N)
  at::Tensor x;      // (B, H, P)
  at::Tensor angle;  // (B, H, A)
};

// projected (B, 1, rows z, x, B, C, dd_dt, dd_A, trap, angle) -> (B, 1, d_in), what out_proj takes.
// starts (B, 1) bool, lengths (B) int64 or undefined.
at::Tensor step(const Layer& layer, const at::Tensor& projected, const StepMemory& memory,
                const at::Tensor& starts, const at::Tensor& lengths);

}  // namespace echo::mamba3
