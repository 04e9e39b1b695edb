#pragma once

#include <cstdint>

namespace echo {

// Where `index` goes in the order of 0..size-1 that belongs to `seed`: a random permutation that
// needs no memory, so that an epoch of any length is shuffled by asking for one index at a time.
// Eight Feistel rounds on the smallest power of four that holds `size`, walked until the result is
// below it: less than four steps on average.
int64_t permuted(int64_t index, int64_t size, uint64_t seed);

}  // namespace echo
