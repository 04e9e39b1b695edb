#pragma once

#include "framework/src/testing/golden_run.h"

#include <echo/registry.h>

#include <optional>
#include <string>
#include <vector>

namespace echo::testing {

// One tensor of the file, by one way through the mixer or the worst of several.
struct Comparison {
  std::string tensor;             // "y", "y_next", "state.S", "dx", "d_q_proj.weight"
  std::string way;                // "whole", "split", "single tokens", "all ways"
  std::optional<double> float64;  // RMS ratio; none: it could not be computed
  std::optional<double> float32;
  bool passed = true;
  std::string problem;  // why a ratio is not finite
  std::string worst;    // of several ways, the one with the largest ratio beyond what is allowed
};

struct Verification {
  std::string kind;  // of the mixer that ran
  Allowed float64;
  Allowed float32;
  std::vector<Comparison> comparisons;
  std::vector<std::string> notes;  // what was not compared, and why
  std::string failure;             // what the mixer threw; empty: nothing

  bool passed() const;
};

// Runs a golden file through the mixer that it names, or through another kind with the same
// options: in float64 and float32, whole, split at several cuts, token by token, on from its own
// state and from the file's, and backward. Throws ConfigError, naming the file, for a kind or
// options that do not exist, and for tensors that are missing, unknown or of another shape.
Verification verify(const Golden& golden, const Registry& registry, const std::string& kind = "");

}  // namespace echo::testing
