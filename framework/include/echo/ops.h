#pragma once

#include <echo/span.h>

#include <ATen/core/Tensor.h>

// Sequence primitives that several mixers share. All are differentiable, deterministic, keep the
// dtype of x, and compute in float32 (float64 for float64 x) whatever it is. On the CPU they are
// fused kernels with a derivative of their own (no second derivative); on other devices, and as the
// reference in the tests, LibTorch's operators.
//
// Those that read a Span honour its stretch: every part of a sequence goes on from the parts before
// it, and no memory is given but where it says so. Each makes one exchange, of a size that does not
// depend on T.
namespace echo {

// x / sqrt(mean(x^2) + eps) * weight over the last axis. weight: of its size, or undefined (ones).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// x / sqrt(sum(x^2) + eps) over the last axis.
at::Tensor l2_normalize(const at::Tensor& x, double eps = 1e-6);

// silu(gate) * up, elementwise; keeps gate and up for the derivative, nothing else.
at::Tensor silu_multiply(const at::Tensor& gate, const at::Tensor& up);

// Frequencies of rotary positions, theta^(-2i / width) for i < width / 2: (width / 2) float64.
at::Tensor rotary_frequencies(double theta, int64_t width, at::Device device);

// Cosine and sine of the angles position * frequency. The angles are float64, so that positions
// beyond 1e6 keep their digits.
struct Rotation {
  at::Tensor cosine, sine;  // (B or 1, T, width / 2), float32 or float64
};

// positions (B or 1, T) int64. dtype: of the heads that will be turned; bfloat16 counts as float32.
Rotation rotation(const at::Tensor& positions, const at::Tensor& frequencies, at::ScalarType dtype);

// Turns the first `width` dimensions of every head by half-split pairs (i, i + width / 2):
// x'_i = x_i cos - x_{i + width/2} sin, x'_{i + width/2} = x_{i + width/2} cos + x_i sin; the other
// dimensions stay. heads (B, T, H, P).
at::Tensor rotate(const at::Tensor& heads, const Rotation& rotation);

// y_t = bias + sum_{i<W} weight_i x_{t-W+1+i}, per channel; a start empties the memory before its
// token, padding leaves it alone (span.starts, span.lengths). With a span.stretch, `memory` may be
// what Stretch::halo gave of W - 1 tokens, (B, C, W - 1); else it is fetched.
struct Convolved {
  at::Tensor y;       // (B, T, C)
  at::Tensor memory;  // (B, C, W - 1): the last inputs, oldest first; dtype of the memory given
};

// x (B, T, C), weight (C, 1, W), bias (C) or undefined, memory (B, C, W - 1) or undefined (zeros;
// no memory is returned then).
Convolved causal_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& memory, const Span& span);

// One token of attention against rings of keys and values (B, G, C, P), in which the token of
// position p stands at slot p modulo C: writes k and v (B, 1, G, P), then softmax(q k^T / sqrt(P))
// v over the slots up to the token's own. q (B, 1, H, P) -> (B, 1, H, P); head h reads group h / (H
// / G). positions (B, 1) int64. lengths (B) int64 or undefined: rows of length 0 write nothing. In
// place, for decoding: it has no derivative.
at::Tensor attend_ring(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       at::Tensor ring_k, at::Tensor ring_v, const at::Tensor& positions,
                       const at::Tensor& lengths);

// S_t = S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, per head; by chunks of tokens, in memory that grows
// with T alone. Starts and lengths as above.
struct Attended {
  at::Tensor o;       // (B, T, H, V)
  at::Tensor memory;  // (B, H, K, V): S after the last valid token; undefined without one given
};

// q (B, T, H, K), k (B, T, G, K), v (B, T, G, V), memory (B, H, K, V) or undefined (zeros; no
// memory is returned then); head h reads group h / (H / G). All of one dtype, float32 or float64.
Attended linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& memory, const Span& span);

// S_t = exp(a_t) S_{t-1} + sum_r x_tr b_tr^T, y_tr = S_t c_tr, per head: a state space model with a
// scalar decay, by chunks of tokens (state space duality, arXiv 2405.21060). Starts and lengths as
// above. One token at a time without gradients it writes the memory in place.
struct Scanned {
  at::Tensor y;       // (B, T, R, H, P)
  at::Tensor memory;  // (B, H, P, N): S after the last valid token; undefined without one given
};

// Whether y_t reads what its own token writes (S_t) or only what is left of the tokens before
// (exp(a_t) S_{t-1}).
enum class OwnToken { read, skipped };

// x (B, T, R, H, P); a (B, T, H), at most 0; b, c (B, T, R, G, N); memory (B, H, P, N) or undefined
// (zeros; no memory is returned then); head h reads group h / (H / G). R inputs and outputs share a
// token: 1, but in MIMO models. All of one dtype, float32 or float64. With a span.stretch, memory
// is what is added to that of the parts before.
Scanned state_space_scan(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b,
                         const at::Tensor& c, const at::Tensor& memory, const Span& span,
                         OwnToken own = OwnToken::read);

// The delta rule with decay, per head: S~ = exp(g_t) S_{t-1}, u_t = beta_t (v_t - S~^T k_t),
// S_t = S~ + k_t u_t^T, o_t = S_t^T q_t; by chunks of tokens (arXiv 2406.06484, 2412.06464,
// 2510.26692). Starts and lengths as above. A few tokens without gradients are read one by one, and
// written into the memory in place.
//
// q, k (B, T, G, K), v (B, T, H, V), g at most 0: (B, T, H), or (B, T, H, K) for a decay per
// channel of a key, or undefined (0); beta (B, T, H), memory (B, H, K, V) or undefined (zeros; no
// memory is returned then); head h reads group h / (H / G). All of one dtype, float32 or float64.
Attended gated_delta_rule(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& g, const at::Tensor& beta, const at::Tensor& memory,
                          const Span& span);

// S_t = Diag(exp g_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, in the same way. q (B, T, H, K), k and
// g (B, T, G, K), v (B, T, G, V), memory (B, H, K, V) or undefined.
Attended gated_linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& g, const at::Tensor& memory, const Span& span);

}  // namespace echo
