#pragma once

#include <ATen/core/Tensor.h>

// Chunk form of the delta rule with decay (and of gated linear attention, which is the same without
// the correction): per chunk, S the memory before it, G the running sums of g,
//
//     e = v - exp(G) k S - N (beta e)      N_ij = exp(G_i - G_j) k_i . k_j for j < i
//     o = exp(G) q S + A (beta e)          A_ij = exp(G_i - G_j) q_i . k_j for j <= i
//     S <- exp(G_end) S + sum_i exp(G_end - G_i) k_i (beta e)_i^T
//
// with e = (I + N Diag(beta))^-1 (v - exp(G) k S). Without the correction beta e is v. A start is
// no decay but a mask: pairs on two sides of it, and memory from before it, count for nothing.
namespace echo::ops {

// A stretch without padding tokens that would change the memory.
struct DeltaInputs {
  at::Tensor q, k;    // (B, T, G, K)
  at::Tensor v;       // (B, T, H, V)
  at::Tensor g;       // (B, T, H), or (B, T, H, K) where G = H, at most 0; undefined: 0
  at::Tensor beta;    // (B, T, H); undefined: no correction
  at::Tensor memory;  // (B, H, K, V) or undefined: zeros
  at::Tensor starts;  // (B, T) bool or undefined
};

struct DeltaOutputs {
  at::Tensor o;       // (B, T, H, V)
  at::Tensor before;  // (chunks + 1, B H, K, V): the memory before each chunk, and after the last
};

// Tokens of a chunk, of a stretch of `length`; a power of two.
int64_t delta_chunk(int64_t length);

DeltaOutputs delta_forward(const DeltaInputs& inputs);

// Gradients of q, k, v, g, beta and memory, undefined where the input is (but for memory), from
// those of o and of the memory after (B, H, K, V), which may be undefined.
DeltaInputs delta_backward(const DeltaInputs& inputs, const DeltaOutputs& outputs,
                           const at::Tensor& d_o, const at::Tensor& d_after);

}  // namespace echo::ops
