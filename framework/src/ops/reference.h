#pragma once

#include <echo/ops.h>

// The functions of echo/ops.h in LibTorch's operators: what they mean, what runs on devices without
// a kernel here, and what the tests hold the kernels to.
namespace echo::reference {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor l2_normalize(const at::Tensor& x, double eps);
at::Tensor rotate(const at::Tensor& heads, const Rotation& rotation);

// Without memory: x (B, W - 1 + T, C) begins with it. reach (B, T) int64 or undefined: how many
// tokens before token t it may read.
at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& reach);

at::Tensor attend_ring(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       at::Tensor ring_k, at::Tensor ring_v, const at::Tensor& positions,
                       const at::Tensor& lengths);

// Token by token.
Scanned state_space_scan(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b,
                         const at::Tensor& c, const at::Tensor& memory, const Span& span,
                         OwnToken own);
Attended linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& memory, const Span& span);
Attended gated_delta_rule(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& g, const at::Tensor& beta, const at::Tensor& memory,
                          const Span& span);
Attended gated_linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& g, const at::Tensor& memory, const Span& span);

}  // namespace echo::reference
