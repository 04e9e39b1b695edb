#pragma once

#include <echo/span.h>

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

// The memory of attention: rings of keys and values, (B, Hkv, C, hd), in which token p of a row's
// document stands at slot p modulo C. Without a window C grows before it would wrap; with one it
// ends at the window's size.
namespace echo::attention {

// Makes room for `length` more tokens: doubles the rings where the window allows it.
void reserve(State& state, int64_t length, std::optional<int64_t> window);

// Position of the token in each slot, (B, slots) int64; a number beyond all positions where there
// is none.
at::Tensor slot_positions(const at::Tensor& position, int64_t slots, int64_t capacity);

// The same of the `count` tokens before a part of a sequence, (B, count): a document that goes on
// with the part has had `position` (B) tokens.
at::Tensor positions_before(const at::Tensor& position, int64_t count);

// Writes the stretch's keys and values (B, Hkv, T, hd): in place with gradients off, into new
// tensors with gradients on. positions (B or 1, T): of the tokens in their documents.
void write(State& state, const at::Tensor& k, const at::Tensor& v, const at::Tensor& positions,
           const Span& span);

}  // namespace echo::attention
