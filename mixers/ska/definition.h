#pragma once

#include "mixers/ska/tokens.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// The read as the specification defines it, token by token, with a Cholesky factorisation at every
// token: what the fast forms are tested against. O(T R^3). y (B, T, H, P); statistics and previous
// key (B, H, R) move to the end. Differentiable any number of times.
at::Tensor read_definition(const Tokens& tokens, const Reading& reading, Statistics& statistics,
                           at::Tensor& previous);

}  // namespace echo::ska
