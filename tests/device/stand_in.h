#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <c10/core/Device.h>

namespace echo {

// A stand-in for a GPU on a machine without one: a device of LibTorch's own kind PrivateUse1, whose
// operators are the CPU's. What would be wrong on a GPU is wrong here: the host may not touch its
// memory (a kernel for the CPU that does dies of it), operands of an operation must be on one
// device, and every time that the host would have to wait for a GPU, or feed it, is counted.
at::Device stand_in();

// Times that the host had to wait for the stand-in, or to bring it data, by any thread, with the
// operators that made it.
struct Traffic {
  std::vector<std::string> waits;  // values that came to the host: item(), nonzero, copies
  std::vector<std::string> feeds;  // tensors of the host that were copied to the device
};

// What has happened since the last call.
Traffic take_traffic();

}  // namespace echo
