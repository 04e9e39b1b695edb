#pragma once

#include <cstdint>

namespace echo {

// Makes LibTorch's CPU operators give the same bits whenever the same program runs with the same
// number of threads. `threads` 0 keeps LibTorch's own choice. Returns the number in use.
int64_t use_deterministic_threads(int64_t threads);

}  // namespace echo
