#pragma once

#include "mixers/ska/tokens.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// Mode prefix: the tokens that `prefix` (B, T) bool marks feed the statistics, then every token of
// the stretch reads them; a pair counts when both of its tokens are marked. Without `prefix` the
// statistics are read and not changed. y (B, T, H, P), from LibTorch's operators, differentiable.
// `previous` (B, H, R) is the last key if it was marked, else zero;
// `factor` (B, H, R, R), U with G^-1 = U U^T: undefined where the statistics are new, kept between
// calls without gradients.
at::Tensor read_prefix(const Tokens& tokens, const at::Tensor& prefix, const Reading& reading,
                       Statistics& statistics, at::Tensor& previous, at::Tensor& factor);

}  // namespace echo::ska
