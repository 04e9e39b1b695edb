#pragma once

#include <echo/mixer.h>

#include <cstdint>

namespace echo {

// What a mixer tells the other ranks of its sequences in one direction of a step, and what it keeps
// of their answers, in bytes. Interim: from the size of the mixer's state, until mixers say
// themselves what they exchange.
struct SequenceExchange {
  int64_t sent = 0;     // by one rank, to all others together
  int64_t kept = 0;     // until the backward pass
  int64_t passing = 0;  // while the layer runs
};

// For `rows` samples of which each of `ranks` ranks holds `length` tokens. A memory of constant
// size goes out as it is after the part, and one such memory is kept: that before the part. A
// growing one goes out as the keys and values of the part, and those of all parts are kept.
SequenceExchange sequence_exchange(const Mixer& mixer, int64_t rows, int64_t length, int64_t ranks,
                                   at::ScalarType activations);

// Whether a mixer can work on a part of a sequence. Interim: one that reads only what comes before,
// until mixers say it themselves.
bool shares_sequences(const Mixer& mixer);

}  // namespace echo
