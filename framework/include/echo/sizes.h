#pragma once

#include <echo/fields.h>

#include <string>

namespace echo {

// Ranges of fields that become sizes of tensors. Their upper ends lie beyond what machines hold,
// and low enough that products of a few sizes fit into 64 bits. Listings leave them out ("at least
// 1"); a message names them to whoever exceeds them.

// Widths, ranks, heads, taps.
inline Range size_from(double low) { return between(low, 1 << 20); }

// Rows of an embedding: tokens, positions.
inline Range rows_from(double low) { return between(low, 1 << 24); }

// Tokens of a sequence, samples of a batch.
inline Range count_from(double low) { return between(low, 2147483648.0); }

// The width of one of `heads` that share a layer's width out. Throws FieldError of the field
// `heads` where they do not divide it; `instead` names what may be given as well ("head_width").
int64_t head_width_of(int64_t width, int64_t heads, const std::string& instead);

}  // namespace echo
