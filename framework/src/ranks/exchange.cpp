#include "framework/src/ranks/exchange.h"

#include <echo/state.h>

namespace echo {

SequenceExchange sequence_exchange(const Mixer& mixer, int64_t rows, int64_t length, int64_t ranks,
                                   at::ScalarType activations) {
  const Memory memory = mixer.traits().memory;
  if (ranks == 1 || memory == Memory::none) return {};
  const State state = mixer.initial_state({.batch = rows,
                                           .capacity = length,
                                           .device = mixer.options().device(),
                                           .dtype = activations});
  const int64_t own = state.bytes();
  SequenceExchange exchange{.sent = (ranks - 1) * own};
  if (memory == Memory::growing) {
    exchange.kept = ranks * own;
  } else {
    exchange.kept = own;
    exchange.passing = ranks * own;
  }
  return exchange;
}

bool shares_sequences(const Mixer& mixer) {
  return mixer.traits().causal && !mixer.traits().needs_prefix;
}

}  // namespace echo
