#pragma once

#include <ATen/core/Tensor.h>

// One token of the queries, keys and values of this folder's mixers, in one pass on the CPU.
namespace echo::delta_rule {

// Two maps of x convolve and normalise alike, the third is not normalised.
struct Part {
  at::Tensor map;     // (B, 1, rows), last stride 1
  at::Tensor weight;  // (rows, 1, W)
  int64_t head = 0;   // rows of a head that are normalised together; 0: not
  double scale = 1;   // of what is normalised
};

// silu of the convolution, then scale x / sqrt(sum x^2 + 1e-6) per head: (B, 1, rows), float32 or
// float64 like the rest. Takes the token into memory (B, rows, W - 1), rows [first, first + rows)
// of which are the part's. starts (B, 1) bool, lengths (B) int64 or undefined.
at::Tensor convolve(const Part& part, const at::Tensor& memory, int64_t first,
                    const at::Tensor& starts, const at::Tensor& lengths);

}  // namespace echo::delta_rule
