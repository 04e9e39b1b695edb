#pragma once

#include "framework/src/recipe/recipe.h"

#include <echo/mixer.h>
#include <echo/registry.h>

#include <cstdint>

namespace echo {

// What a branch tells each of the other ranks of its sequences in the forward pass, of one row;
// backward it is as much.
struct ExchangeCost {
  int64_t operations = 0;
  int64_t constant = 0;   // bytes, whatever the length
  int64_t per_token = 0;  // of the longest part
  int64_t most = 0;       // as with a window

  int64_t bytes(int64_t part) const;
};

// Whether a mixer can work on a part of a sequence.
bool shares_sequences(const Mixer& mixer);

// Finds it out: the branch runs on a few tokens, beside parts of several lengths.
ExchangeCost exchange_cost(const BranchRecipe& recipe, const ModelRecipe& model,
                           const Registry& registry, Place place, at::ScalarType activations);

}  // namespace echo
