#pragma once

#include "framework/src/recipe/recipe.h"

#include <echo/registry.h>

namespace echo {

// What an optimiser keeps and takes, found out on small parameters.
struct OptimizerCost {
  double per_matrix = 0;  // bytes of state per byte of a parameter of two axes
  double per_vector = 0;  // of one axis
  // An update's own bytes: so many times all parameters, and times the largest one.
  double passing_all = 0;
  double passing_largest = 0;

  int64_t state_bytes(const Parameter& parameter) const;
  int64_t passing_bytes(int64_t parameters, int64_t largest) const;
};
OptimizerCost optimizer_cost(const KindChoice& choice, const Registry& registry);

// Of what files and optimisers see: without padding.
int64_t value_bytes(const Parameter& parameter);

}  // namespace echo
