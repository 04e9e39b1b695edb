#include "trainers/tasks/shared/permuted.h"

#include <echo/error.h>
#include <echo/random.h>

namespace echo {

namespace {

constexpr uint64_t kRounds = 8;  // fewer leave a bias in orders of ten

uint64_t feistel(uint64_t index, int half_bits, uint64_t seed) {
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = index >> half_bits;
  uint64_t right = index & mask;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const uint64_t next = left ^ (derive_seed(seed, "permuted", round << 32 | right) & mask);
    left = right;
    right = next;
  }
  return left << half_bits | right;
}

}  // namespace

int64_t permuted(int64_t index, int64_t size, uint64_t seed) {
  ECHO_CHECK(index >= 0 && index < size, << index << " of " << size);
  int half_bits = 1;
  while (half_bits < 31 && (int64_t{1} << 2 * half_bits) < size) ++half_bits;
  uint64_t place = static_cast<uint64_t>(index);
  do {
    place = feistel(place, half_bits, seed);
  } while (place >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(place);
}

}  // namespace echo
