#pragma once

#include <ATen/core/Tensor.h>

// What goes from one part of a sequence to the next, where ranks hold the parts (Span::stretch).
namespace echo::ops {

// Which tokens of a part documents let read the memory that comes in, or write the one that leaves.
struct Borders {
  at::Tensor cut_in;  // (B, T) bool: a document begins up to the token; undefined: in none does one
  at::Tensor cut_out;  // (B, T) bool: one begins after the token
  at::Tensor broken;   // (B) bool: one begins somewhere

  explicit Borders(const at::Tensor& starts);  // (B, T) bool or undefined
};

// x (B, ...) or (B, T, ...) with zeros where the mask (B) or (B, T) says so; undefined: nowhere.
at::Tensor cleared(const at::Tensor& x, const at::Tensor& mask);

// Sums of a (B, T, ...) over the tokens behind each. No difference of long sums: the digits of what
// stands near the end are kept.
at::Tensor sums_behind(const at::Tensor& a);

// (B, G, ...) -> (B, H, ...): head h has what group h / (H / G) has.
at::Tensor repeat_groups(const at::Tensor& x, int64_t heads);

}  // namespace echo::ops
