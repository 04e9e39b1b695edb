#pragma once

#include "framework/src/testing/golden_layer.h"

#include <set>
#include <string>
#include <vector>

namespace echo::testing {

// RMS ratios that a golden file allows, by what is computed in. The file's own `tolerance` has no
// say.
struct Allowed {
  double output = 0;  // y, y_next
  double state = 0;
  double gradient = 0;
};
Allowed allowed_ratios(const Golden& golden, at::ScalarType dtype);

// RMS ratios of one file in one dtype: for every tensor and group of ways the worst.
struct Ratio {
  std::string tensor;  // "y", "y_next", "state.S", "dx", "d_q_proj.weight"
  std::string group;   // "whole", "split", "single tokens", "all ways"
  std::string way;     // of the group: "cut before token 3"
  double ratio = 0;
  double allowed = 0;
  std::string problem;  // why there is no finite ratio; empty: there is one
};

struct GoldenRatios {
  std::vector<Ratio> ratios;    // in the order in which they were computed
  std::set<std::string> notes;  // what was not compared, and why

  void add(const Ratio& ratio);  // keeps the worse of two with the same tensor and group
};

// Runs a file through its mixer: whole, split at several cuts, token by token, on from its own
// state and from the file's, and backward. Throws ConfigError for tensors of another shape, and
// whatever the mixer throws.
GoldenRatios run_golden(const Golden& golden, GoldenLayer& layer);

}  // namespace echo::testing
