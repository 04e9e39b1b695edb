#pragma once

#include <ATen/core/Tensor.h>

namespace echo::ops {

// (I + L)^-1 of the part L of `lower` (..., C, C) strictly below the diagonal; the rest of it is
// not read. Substitution: C^3 / 6 multiply-adds each.
at::Tensor unit_lower_inverse(const at::Tensor& lower);

}  // namespace echo::ops
