#pragma once

#include <ATen/core/Tensor.h>

// One token of Mamba-2 between its two linear maps, in one pass on the CPU.
namespace echo::mamba2 {

// The layer's tensors, contiguous and of one dtype, float32 or float64.
struct Layer {
  at::Tensor conv_weight, conv_bias;  // (channels, 1, W), (channels) or undefined
  at::Tensor dt_bias, A_log, D;       // (H)
  at::Tensor norm;                    // (d_in) or undefined
  int64_t groups;
  double least_step, largest_step;
  double norm_eps;
};

// projected (B, 1, rows z, x, B, C, dt) -> (B, 1, d_in), what out_proj takes. Writes the memories
// conv (B, channels, W - 1) and ssm (B, H, P, N) in place. starts (B, 1) bool, lengths (B) int64 or
// undefined.
at::Tensor step(const Layer& layer, const at::Tensor& projected, const at::Tensor& conv,
                const at::Tensor& ssm, const at::Tensor& starts, const at::Tensor& lengths);

}  // namespace echo::mamba2
