#pragma once

#include "framework/src/recording.h"

namespace echo {

// Records as a CUDA graph, on a stream of its own. A recording plays on the current stream.
WorkRecorder cuda_recorder(at::Device device);

}  // namespace echo
