#pragma once

#include "framework/src/ranks/communicator.h"

#include <memory>

#include <c10/core/Device.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace echo {

// Ranks with a GPU each, for tensors on it; what is on the CPU goes through it. Operations run on a
// stream of their own beside the computing one; wait() makes the computing stream wait, not the
// host. A thread looks after them: where one takes too long it ends them all, and the next call
// throws RanksFailed with the rank that did not come, as the ranks tell each other in `store`.
std::unique_ptr<Communicator> nccl_communicator(c10::intrusive_ptr<c10d::Store> store, int64_t rank,
                                                int64_t size, at::Device device);

// "2.28.9"
std::string nccl_library();

}  // namespace echo
