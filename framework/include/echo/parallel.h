#pragma once

#include <cstdint>
#include <functional>

namespace echo {

// Runs body(begin, end) over parts of [begin, end), on LibTorch's own threads; parts hold at least
// `grain` items. A plugin must use this: LibTorch's inline at::parallel_for runs serially, or
// brings a second pool of threads, in a library that is built with other OpenMP flags. The first
// exception of a part is rethrown.
void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body);

}  // namespace echo
