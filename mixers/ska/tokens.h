#pragma once

#include "mixers/ska/exact.h"
#include "mixers/ska/heads.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// What a layer makes of a stretch of tokens, before it is scaled and put in order. Padding has rows
// of zeros and no starts.
struct Features {
  Heads keys, queries, values;
  at::Tensor starts;           // (B, T) bool, or undefined
  at::Tensor lengths;          // (B) int64, or undefined
  at::Tensor plain, filtered;  // (B, T, H, 1), or undefined: see Chunks
};

// The same, scaled, in the order of time.
struct Tokens {
  at::Tensor keys, queries;    // (B, T, H, R)
  at::Tensor values;           // (B, T, H, P)
  at::Tensor starts;           // (B, T) bool, or undefined
  at::Tensor lengths;          // (B) int64, or undefined
  at::Tensor plain, filtered;  // (B, T, H, 1), or undefined
};

Tokens in_time(const Features& features);
Features slice(const Features& features, int64_t first, int64_t last);

// Scaled, in chunks of `size` tokens; previous (B, H, R) is the key before the stretch.
Chunks in_chunks(const Features& features, const at::Tensor& previous, int64_t size);
// The same but for the keys, which alone depend on what came before.
Chunks in_chunks_without_keys(const Features& features, int64_t size);

// The key before the next stretch (B, H, R): the last valid one, or `previous` in rows that have
// none. Of keys in time (B, T, H, R), or in chunks; lengths (B), or undefined: `length` in all
// rows.
at::Tensor last_key(const at::Tensor& keys, const at::Tensor& previous, const at::Tensor& lengths);
at::Tensor last_key(const Chunks& chunks, int64_t length, const at::Tensor& previous,
                    const at::Tensor& lengths);

}  // namespace echo::ska
