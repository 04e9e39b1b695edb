#pragma once

#include <cstdint>

namespace echo {

// What a training step does, and how far decoding reads.
struct Workload {
  int64_t batch = 1;   // samples of a step
  int64_t parts = 1;   // that run one after another: train.accumulation
  int64_t length = 1;  // tokens of a sample
  double scored = 1;   // share of the positions
  bool starts = false, lengths = false, prefix = false;  // of Batch

  bool varies = false;  // other batches and lengths will be asked for

  // Samples of the largest part.
  int64_t rows() const {
    const int64_t count = parts < batch ? parts : batch;
    return (batch + count - 1) / count;
  }
  bool accumulates() const { return parts > 1 && batch > 1; }
};

}  // namespace echo
