#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// Which tokens of a chunk see each other, for n chunks of S tokens in which documents may start.
// A token at or after the first start of its chunk is *fresh*: what enters the chunk is not its own
// past, it begins with G = ridge I, M = 0, C = 0. Made without starts this costs nothing but the
// causal mask: the other functions return their argument. Matrices are (n B H, ., .).
class Documents {
 public:
  Documents() = default;
  Documents(const at::Tensor& starts, at::ScalarType dtype);  // (n, B, S) bool, or undefined

  // Scores of token t (row) against token s (column), in place: zero unless s <= t and both are of
  // one document; `pairs` stands for the pair (s - 1, s) and is zero also where s begins a
  // document.
  at::Tensor causal(at::Tensor scores) const;
  at::Tensor pairs(at::Tensor scores) const;
  at::Tensor pairs_of_causal(const at::Tensor& scores) const;  // not in place

  // Rows of tokens; those of fresh tokens become zero, or scale * plain. With a row before the
  // first token, that one is never fresh.
  at::Tensor carried(const at::Tensor& rows) const;
  at::Tensor replace_fresh(const at::Tensor& rows, const at::Tensor& plain, double scale) const;

  // Rows of tokens; zero unless the token, or the pair that it ends, counts at the chunk's end.
  at::Tensor leaving(const at::Tensor& rows) const;
  at::Tensor leaving_pairs(const at::Tensor& rows) const;

  // target += source (B, H, ., .), or reset * I in the rows where a document starts in this chunk.
  void carry(at::Tensor target, const at::Tensor& source, int64_t chunk, double reset) const;

 private:
  // Undefined without starts. The heads' dimension is 1.
  at::Tensor fresh_;                              // (n, B, 1, 1 + S, 1) bool
  at::Tensor carried_, leaving_, leaving_pairs_;  // (n, B, 1, S, 1)
  at::Tensor causal_, pairs_;                     // (n, B, 1, S, S)
  at::Tensor keep_;                               // (n, B, 1, 1, 1)
};

}  // namespace echo::ska
