#include "framework/src/ranks/ownership.h"

#include <algorithm>
#include <numeric>

namespace echo {

std::vector<int64_t> owners(const std::vector<int64_t>& sizes, int64_t ranks) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<int64_t> owner(sizes.size()), load(static_cast<size_t>(ranks), 0);
  for (const size_t parameter : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[parameter] = least - load.begin();
    *least += sizes[parameter];
  }
  return owner;
}

std::vector<int64_t> owned_sizes(const std::vector<int64_t>& sizes, int64_t ranks) {
  const std::vector<int64_t> owner = owners(sizes, ranks);
  std::vector<int64_t> owned(static_cast<size_t>(ranks), 0);
  for (size_t i = 0; i < sizes.size(); ++i) owned[static_cast<size_t>(owner[i])] += sizes[i];
  return owned;
}

}  // namespace echo
