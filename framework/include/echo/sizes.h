#pragma once

#include <echo/fields.h>

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

}  // namespace echo
