#pragma once

#include "mixers/ska/step.h"

#include <ATen/core/Tensor.h>

namespace echo::ska {

// read_steps on the CPU, float32 or float64. Scales the rows as it reads them.
at::Tensor read_steps_kernel(const Features& features, const Reading& reading,
                             const StepMemory& memory);

}  // namespace echo::ska
