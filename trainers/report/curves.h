#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace echo {

// A quantity over the steps of a run. NaN: it was not finite at this step.
struct Curve {
  std::vector<double> steps;
  std::vector<double> values;

  void add(double step, double value);
  size_t size() const { return steps.size(); }
};

// What metrics.jsonl holds.
struct Curves {
  std::map<std::string, Curve> training;  // "loss", "learning_rate", "auxiliary/balance", ...
  std::map<std::string, std::map<std::string, Curve>> evaluation;  // by score, then by task
  int64_t last_step = 0;
  double seconds = 0;
  int64_t unreadable_lines = 0;  // but for a last one without its end
};

// Throws Error for a file that cannot be opened.
Curves read_curves(const std::filesystem::path& metrics);

// At most about `most` points that look the same: of each of most / 4 stretches of equal length in
// steps the first, the lowest, the highest and the last point, and one that is not finite.
Curve thinned(const Curve& curve, size_t most);

// The mean of the `window` points around each (fewer at the ends); those that are not finite are
// left out.
Curve running_mean(const Curve& curve, size_t window);

}  // namespace echo
