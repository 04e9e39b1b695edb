#pragma once

#include "framework/src/ranks/communicator.h"

#include <functional>
#include <memory>
#include <vector>

namespace echo {

// Ranks that are threads of one process: for tests, and for the conformance kit. An operation is
// done by the thread that comes to it last; sums run in the order of the ranks. Every communicator
// belongs to one thread. A rank that has not come `time_limit` seconds after another began to wait
// for it, or whose communicator is gone, ends that wait with a RanksFailed.
std::vector<std::unique_ptr<Communicator>> local_ranks(int64_t count, double time_limit);

// Runs body in `count` threads, each with the communicator of its rank, and waits for all. Rethrows
// the first failure that is not the consequence of another rank's.
void run_local_ranks(int64_t count, double time_limit,
                     const std::function<void(Communicator&)>& body);

}  // namespace echo
