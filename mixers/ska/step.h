#pragma once

#include "mixers/ska/tokens.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// Memory of a decoding stretch: contiguous, written in place.
struct StepMemory {
  Statistics statistics;
  at::Tensor factor;    // (B, H, R, R) U with G^-1 = U U^T
  at::Tensor previous;  // (B, H, R) the key before the next token
};

// Reads a few tokens one after the other, without gradients: y (B, T, H, P), O(R^2 + P R) per token
// and head.
//
// A key z changes the factor by a multiple of (U a) a^T, a = U^T z (Potter's square-root update):
// U U^T stays positive definite whatever rounding does to U. The error grows with the number of
// updates, so the caller makes a new factor from G now and then.
at::Tensor read_steps(const Features& features, const Reading& reading, StepMemory& memory);

// The same in LibTorch's operators, for any device.
at::Tensor read_steps_reference(const Tokens& tokens, const Reading& reading, StepMemory& memory);

}  // namespace echo::ska
