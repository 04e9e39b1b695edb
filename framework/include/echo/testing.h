#pragma once

#include <echo/registry.h>

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

// The conformance kit: what must be true of every mixer, as functions that a test, `echo plugin
// check` or an author's own program can call.
namespace echo::testing {

// rms(value - reference) / rms(reference) over the whole tensor, in float64. 0 when both are zero;
// infinity for other shapes, for values that are not finite, and for a zero reference beside
// another value.
double rms_ratio(const at::Tensor& value, const at::Tensor& reference);

// The one table of what counts as equal, as an RMS ratio, by the dtype of x. Checks that compare
// two ways through a mixer run in float64, where only a mistake is larger; float32 and bfloat16
// are compared with float64.
struct Tolerances {
  double float64 = 1e-8;
  double float32 = 2e-3;
  double bfloat16 = 5e-2;
  double gradient = 1e-6;  // of float64 gradients against central differences
};

struct CheckSettings {
  int64_t width = 32;  // D
  uint64_t seed = 0;   // of parameters and inputs
  Tolerances tolerances;
  std::vector<std::string> only;    // ids of checks; empty: all
  std::vector<std::string> silent;  // parameters whose gradient is identically zero
};

struct CheckResult {
  std::string id;
  bool passed = false;
  std::string detail;  // what failed, or what was measured, or why it does not apply
};

// Ids in the order of the checks: fields, alive, shape, causal, batch, split, starts, grad, state,
// dtypes, threads, ranks, flops.
std::vector<std::string> mixer_checks();

// Runs the checks over fresh instances of one kind, on the CPU. Every parameter is drawn anew at a
// working scale, so that no map is zero. An exception of the mixer is a failure, not an exception.
// Throws Error for an id in `only` that does not exist.
std::vector<CheckResult> check_mixer(const MixerKind& kind, const Options& options,
                                     const CheckSettings& settings = {});

}  // namespace echo::testing
