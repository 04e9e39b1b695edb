#include "framework/src/recording.h"

#ifdef ECHO_CUDA
#include "framework/src/cuda_recording.h"
#endif

namespace echo {

WorkRecorder recorder_for(at::Device device) {
#ifdef ECHO_CUDA
  if (device.is_cuda()) return cuda_recorder(device);
#endif
  static_cast<void>(device);
  return {};
}

}  // namespace echo
