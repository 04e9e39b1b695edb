#pragma once

#include <echo/ops.h>

namespace echo::ops {

// The recurrences of gated_delta_rule (beta defined) and gated_linear_attention (beta undefined)
// token by token, into `memory` (contiguous, on the CPU), which must not need a graph. Two passes
// over the memory per token, one without beta.
at::Tensor recur_in_place(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& g, const at::Tensor& beta, at::Tensor memory,
                          const Span& span);

}  // namespace echo::ops
