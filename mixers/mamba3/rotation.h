#pragma once

#include <ATen/core/Tensor.h>

// How Mamba-3 turns what it writes and reads by: an angle per token, head and pair of dimensions.
namespace echo::mamba3 {

// Which dimensions of a head form pair i: neighbours (2i, 2i + 1), or halves (i, i + N / 2).
enum class Pairing { neighbours, halves };

// Angles after every token, reduced to [0, 2 pi): steps (B, T, H, A), before (B, H, A) or undefined
// (zeros). A start forgets what came before its token. starts (B, T) bool or undefined.
at::Tensor running_angles(const at::Tensor& steps, const at::Tensor& before,
                          const at::Tensor& starts);

// Adds the bias (H, R, N) to the rows (B, T, R, G, N) of every head's group, and turns the first A
// pairs by the angles (B, T, H, A): (a, b) -> (a cos - b sin, a sin + b cos). -> (B, T, R, H, N).
at::Tensor turned(const at::Tensor& rows, const at::Tensor& bias, const at::Tensor& cosine,
                  const at::Tensor& sine, Pairing pairing);

}  // namespace echo::mamba3
