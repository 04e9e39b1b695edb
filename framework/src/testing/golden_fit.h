#pragma once

#include "framework/src/testing/golden.h"

#include <echo/state.h>

namespace echo::testing {

// Whether what a golden file says of the state fits the state that its mixer has after the T
// tokens. Both throw ConfigError.

// Tensors of another shape. Of a ring a file may hold all T tokens, or those that the mixer keeps.
void check_states(const Golden& golden, const State& state);

// The weights of a term of the loss, cut to the tokens that the mixer's rings keep. Undefined for a
// term that is zero whatever the state: all its weights are zero, and the mixer's state lacks the
// tensor. Refuses weights of another shape, and weights other than zero of what the mixer does not
// keep.
at::Tensor loss_weights(const Golden& golden, const Golden::LossTerm& term, const State& state);

}  // namespace echo::testing
