#pragma once

#include "framework/src/ranks/communicator.h"

#include <memory>

namespace echo {

// A group of one: nothing is sent, every operation is done at once.
std::unique_ptr<Communicator> single_rank();

}  // namespace echo
