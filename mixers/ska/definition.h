#pragma once

#include "mixers/ska/exact.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// Tokens in the order of time.
struct Tokens {
  at::Tensor keys, queries;     // (B, T, H, R)
  at::Tensor values;            // (B, T, H, P)
  at::Tensor starts;            // (B, T) bool, or undefined
  at::Tensor plain, filtered;   // (B, T, H, 1), or undefined
};

// The read as the specification defines it, token by token, with a Cholesky factorisation at every
// token: what the fast forms are tested against. O(T R^3). y (B, T, H, P); statistics and previous
// key (B, H, R) move to the end. Differentiable any number of times.
at::Tensor read_definition(const Tokens& tokens, const Reading& reading, Statistics& statistics,
                           at::Tensor& previous);

}  // namespace echo::ska
