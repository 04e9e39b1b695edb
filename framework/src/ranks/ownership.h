#pragma once

#include <cstdint>
#include <vector>

namespace echo {

// Which rank owns each of some parameters, whole: it keeps their optimizer state (ZeRO-1, arXiv
// 1910.02054) and writes them into checkpoints. `sizes` are numbers of elements. The largest come
// first, each to the rank that has least; a pure function, so that all ranks agree.
std::vector<int64_t> owners(const std::vector<int64_t>& sizes, int64_t ranks);

// Elements that each rank owns.
std::vector<int64_t> owned_sizes(const std::vector<int64_t>& sizes, int64_t ranks);

}  // namespace echo
