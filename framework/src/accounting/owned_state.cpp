#include "framework/src/accounting/owned_state.h"

#include "framework/src/ranks/ownership.h"

#include <algorithm>

namespace echo {

namespace {

void add(OwnedState& owned, const std::vector<Parameter>& parameters, size_t i,
         const OptimizerCost& cost) {
  owned.parameters.push_back(i);
  owned.state += cost.state_bytes(parameters[i]);
  owned.values += value_bytes(parameters[i]);
  owned.largest = std::max(owned.largest, value_bytes(parameters[i]));
}

}  // namespace

OwnedState all_state(const std::vector<Parameter>& parameters, const OptimizerCost& cost) {
  return largest_share(parameters, cost, 1);
}

OwnedState largest_share(const std::vector<Parameter>& parameters, const OptimizerCost& cost,
                         int64_t ranks) {
  std::vector<int64_t> sizes;
  for (const Parameter& parameter : parameters) sizes.push_back(parameter.numel());
  const std::vector<int64_t> owner = owners(sizes, ranks);
  std::vector<OwnedState> shares(static_cast<size_t>(ranks));
  for (size_t i = 0; i < parameters.size(); ++i)
    add(shares[static_cast<size_t>(owner[i])], parameters, i, cost);
  for (size_t rank = 0; rank < shares.size(); ++rank)
    shares[rank].rank = static_cast<int64_t>(rank);
  return *std::max_element(shares.begin(), shares.end(),
                           [](const auto& a, const auto& b) { return a.state < b.state; });
}

}  // namespace echo
