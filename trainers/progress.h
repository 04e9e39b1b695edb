#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace echo {

struct ProgressFacts {
  int64_t step = 0;
  int64_t steps = 0;
  std::optional<double> loss;
  double learning_rate = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
};

// "step 1200/2000  loss 0.0123  rate 2.9e-03  12.3k tok/s  ETA 1:20" in at most `columns`: the
// words go first, then the parts that matter least.
std::string progress_text(const ProgressFacts& facts, int64_t columns);

}  // namespace echo
