#pragma once

#include <ATen/core/Tensor.h>

// Scores of the tokens of a chunk whose keys fade per channel:
// s_ij = sum_c q_ic k_jc exp(G_ic - G_jc) for j < i, G falling. exp(G_i) exp(-G_j) would overflow.
// Blocks of tokens are scored against the blocks before them with what is left at their border:
// exp(G_i - G_border) exp(G_border - G_j), neither of which exceeds 1, and the halves of a block in
// the same way, down to single tokens: log2(C) levels, each with one exp per number of G.
namespace echo::ops {

struct ChannelScores {
  at::Tensor queries;  // (..., C, C): of q with k, j <= i; 0 elsewhere
  at::Tensor keys;     // (..., C, C): of k with k, j < i; 0 elsewhere; undefined if not asked for
};

enum class KeyScores { wanted, unwanted };

// q, k, sums G: (..., C, K), C a power of two.
ChannelScores channel_scores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& sums,
                             KeyScores keys);

// Gradients of q, of k as the one that reads (keys only) and of k as the one that is read. That of
// G is q dq + k dreader - k dread.
struct ChannelGradients {
  at::Tensor q;       // (..., C, K)
  at::Tensor reader;  // undefined without keys
  at::Tensor read;
};

ChannelGradients channel_scores_backward(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& sums, const ChannelScores& gradients);

}  // namespace echo::ops
