#pragma once

#include <echo/span.h>

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

// Attention of which a mask decides: windows, documents, memory. Queries go in blocks, each with
// the range of keys that any of them may read, so that nothing grows with T squared.
namespace echo::attention {

// Keys are the memory's slots, then the stretch's own tokens.
struct Reading {
  at::Tensor query_position;  // (B or 1, T) int64: in the token's document
  at::Tensor key_position;    // (B or 1, M + T) int64; of empty slots: beyond all
  at::Tensor query_document;  // (B, T) int64, 0: the one that the memory belongs to; undefined: all
                              // keys belong to the queries' document
  at::Tensor key_document;    // (B, M + T) int64
  int64_t memory = 0;         // M
  std::optional<int64_t> window;
  const Offsets* offsets = nullptr;  // where documents begin, on the host; null: nowhere
};

// softmax(q k^T / sqrt(hd)) v over key <= query in the same document and window. q (B, H, T, hd),
// k and v (B, Hkv, M + T, hd) -> (B, H, T, hd).
at::Tensor attend_blocks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const Reading& reading);

// Pairs of a query and a key that attend_blocks scores in a stretch without memory: of a window
// more than it holds, as queries go in blocks.
int64_t pairs_in_blocks(int64_t batch, int64_t length, int64_t window);

// LibTorch's fused attention; heads may be groups. A mask, or causal without one.
at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& mask);

}  // namespace echo::attention
