#pragma once

#include <echo/task.h>

#include <cstdint>
#include <string>

namespace echo {

// Seed of sample `index` of an endless stream: no two splits, tasks or indices share one.
uint64_t sample_seed(uint64_t seed, const std::string& kind, Split split, int64_t index);

}  // namespace echo
