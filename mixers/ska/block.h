#pragma once

#include "mixers/ska/frame.h"

#include <vector>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// What the backward of a block of chunks needs beside the inputs.
struct Saved {
  Frame frame;
  std::vector<Solved> reads;  // at powers 0 to the recipe's
};

// y (n, S, P) of a block, written to `y`; moves the statistics to its end.
Saved read_block(const Chunks& block, const Reading& reading, Statistics& statistics, at::Tensor y);

// Gradients of a block's inputs, written to `result`, from those of y (n, S, P). `statistics` holds
// the gradient of the statistics after the block, and on return that of those before it.
void read_block_backward(const Saved& saved, const Chunks& block, const Reading& reading,
                         const at::Tensor& dy, Statistics& statistics, const Chunks& result);

}  // namespace echo::ska
