#pragma once

#include "framework/src/ranks/communicator.h"

#include <memory>

namespace echo {

// A rank without others: nothing is sent, every operation is done at once.
std::unique_ptr<Communicator> single_rank();

// The same in the shape of one of several ranks, to measure what one of them takes: the others'
// share of every sum is zero. split() gives groups of so many neighbours.
std::unique_ptr<Communicator> lone_rank(int64_t rank, int64_t ranks, int64_t neighbours = 1);

}  // namespace echo
