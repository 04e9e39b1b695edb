#include "trainers/tasks/mqar/mersenne.h"

namespace echo {

namespace {

uint32_t twist(uint32_t high, uint32_t low, uint32_t far) {
  const uint32_t word = (high & 0x80000000u) | (low & 0x7fffffffu);
  return far ^ (word >> 1) ^ ((0u - (word & 1)) & 0x9908b0dfu);
}

uint32_t temper(uint32_t word) {
  word ^= word >> 11;
  word ^= word << 7 & 0x9d2c5680u;
  word ^= word << 15 & 0xefc60000u;
  return word ^ word >> 18;
}

}  // namespace

Mersenne::Mersenne(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < kSize; ++i)
    state_[i] = 1812433253u * (state_[i - 1] ^ state_[i - 1] >> 30) + i;
}

void Mersenne::refill() {
  constexpr int kRest = kSize - kShift;
  for (int i = 0; i < kRest; ++i) state_[i] = twist(state_[i], state_[i + 1], state_[i + kShift]);
  for (int i = kRest; i < kSize - 1; ++i)
    state_[i] = twist(state_[i], state_[i + 1], state_[i - kRest]);
  state_[kSize - 1] = twist(state_[kSize - 1], state_[0], state_[kShift - 1]);
  for (int i = 0; i < kSize; ++i) words_[i] = temper(state_[i]);
  next_ = 0;
}

}  // namespace echo
