#pragma once

#include <functional>
#include <memory>

#include <c10/core/Device.h>

namespace echo {

// Work of a device that was recorded once, to be done again without the host's part in it.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;  // reads and writes the memory that it had when it was recorded
};

// Records what `work` would do, without doing it. Null where this work cannot be recorded.
using WorkRecorder = std::function<std::unique_ptr<Recording>(const std::function<void()>& work)>;

// CUDA graphs on a GPU; empty for any other device.
WorkRecorder recorder_for(at::Device device);

}  // namespace echo
