#pragma once

#include "framework/src/accounting/optimizer_cost.h"

#include <cstdint>
#include <vector>

namespace echo {

// What one rank keeps of the optimiser's state: that of the parameters that it owns (ZeRO-1), or of
// all. Of several ranks it is the one that keeps the most bytes.
struct OwnedState {
  int64_t rank = 0;
  std::vector<size_t> parameters;  // rising
  int64_t state = 0;               // bytes
  int64_t values = 0;              // bytes of the parameters themselves
  int64_t largest = 0;             // of one of them
};
OwnedState all_state(const std::vector<Parameter>& parameters, const OptimizerCost& cost);
OwnedState largest_share(const std::vector<Parameter>& parameters, const OptimizerCost& cost,
                         int64_t ranks);

}  // namespace echo
