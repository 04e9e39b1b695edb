#pragma once

#include <cstdint>

// Loops over short vectors, and a way to compile what calls them for AVX2 and FMA whatever the rest
// of the program is compiled for: a function marked ECHO_AVX2 has all that it calls inlined. Call
// it only where use_avx2() is true. On other machines than x86-64 neither means anything.
namespace echo {

#if defined(__x86_64__)
#define ECHO_AVX2 __attribute__((target("avx2,fma"), flatten))
inline bool use_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
#define ECHO_AVX2
inline bool use_avx2() { return false; }
#endif

namespace vectors {

template <class T>
T dot(const T* a, const T* b, int64_t size) {
  constexpr int64_t kLanes = 16;  // of which the compiler makes vectors
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += a[i + j] * b[i + j];
  }
  T sum = 0;
  for (; i < size; ++i) sum += a[i] * b[i];
  // By halves, written out: as one loop over the halves it would go through memory.
  for (int64_t j = 0; j < 8; ++j) lanes[j] += lanes[j + 8];
  for (int64_t j = 0; j < 4; ++j) lanes[j] += lanes[j + 4];
  return sum + ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3]));
}

// to += scale * from
template <class T>
void add(T* to, const T* from, T scale, int64_t size) {
  for (int64_t i = 0; i < size; ++i) to[i] += scale * from[i];
}

}  // namespace vectors

}  // namespace echo
