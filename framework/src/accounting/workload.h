#pragma once

#include <cstdint>

namespace echo {

// What one process does in a training step. As one of several ranks it has its own rows and tokens
// of the step's samples.
struct Workload {
  int64_t batch = 1;   // samples of a step
  int64_t parts = 1;   // that run one after another: train.accumulation
  int64_t length = 1;  // tokens of a sample
  double scored = 1;   // share of the positions
  bool starts = false, lengths = false, prefix = false;  // of Batch

  bool varies = false;  // other batches and lengths will be asked for

  int64_t ranks = 1;          // that train one model together
  int64_t sequence = 1;       // of them, that share every sample
  bool shares_state = false;  // ZeRO-1: each rank keeps the optimiser's state of its parameters

  // Parts that there are samples for.
  int64_t turns() const { return parts < batch ? parts : batch; }
  // Samples of the largest part.
  int64_t rows() const { return (batch + turns() - 1) / turns(); }
  bool accumulates() const { return parts > 1 && batch > 1; }
};

}  // namespace echo
