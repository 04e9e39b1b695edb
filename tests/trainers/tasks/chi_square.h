#pragma once

#include <cmath>
#include <cstdint>
#include <map>

namespace echo::testing {

// Whether counts over `cells` equally likely outcomes look even: the chi-square statistic lies
// below the point that even counts pass once in a thousand (Wilson and Hilferty's approximation).
// Outcomes that are no key of `counts` were never seen.
template <class Outcome>
bool looks_uniform(const std::map<Outcome, int64_t>& counts, int64_t cells) {
  if (static_cast<int64_t>(counts.size()) > cells) return false;
  double total = 0;
  for (const auto& [outcome, count] : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(cells);
  double chi_square = static_cast<double>(cells - static_cast<int64_t>(counts.size())) * expected;
  for (const auto& [outcome, count] : counts) {
    const double error = static_cast<double>(count) - expected;
    chi_square += error * error / expected;
  }
  const double freedom = static_cast<double>(cells - 1);
  const double spread = 2 / (9 * freedom);
  return chi_square < freedom * std::pow(1 - spread + 3.09 * std::sqrt(spread), 3);
}

}  // namespace echo::testing
