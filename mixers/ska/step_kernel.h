#pragma once

#include "mixers/ska/step.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// read_steps on the CPU, float32 or float64: all of a head's tokens in one pass over its memory.
at::Tensor read_steps_kernel(const Tokens& tokens, const Reading& reading,
                             const StepMemory& memory);

}  // namespace echo::ska
