#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

// Loops over short vectors, and a way to run what calls them with AVX2 and FMA whatever the rest of
// the program is compiled for.
namespace echo::vectors {

// Runs body(), with all that it calls inlined into it, compiled for AVX2 and FMA where the machine
// has them.
#if defined(__x86_64__)
template <class F>
__attribute__((target("avx2,fma"), flatten)) void run_avx2(const F& body) {
  body();
}
template <class F>
void with_widest(const F& body) {
  __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? run_avx2(body) : body();
}
#else
template <class F>
void with_widest(const F& body) {
  body();
}
#endif

constexpr int64_t kLanes = 16;  // of which the compiler makes vectors

// By halves, written out: as one loop over the halves it would go through memory.
template <class T>
T sum_of(T (&lanes)[kLanes]) {
  for (int64_t j = 0; j < 8; ++j) lanes[j] += lanes[j + 8];
  for (int64_t j = 0; j < 4; ++j) lanes[j] += lanes[j + 4];
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

template <class T>
T dot(const T* a, const T* b, int64_t size) {
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += a[i + j] * b[i + j];
  }
  T sum = 0;
  for (; i < size; ++i) sum += a[i] * b[i];
  return sum + sum_of(lanes);
}

// to[i] = value(i), then the dot product with `with`: one pass over memory.
template <class T, class F>
T assign_dot(T* to, const T* with, int64_t size, F&& value) {
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const T now = value(i + j);
      to[i + j] = now;
      lanes[j] += now * with[i + j];
    }
  }
  T sum = 0;
  for (; i < size; ++i) sum += (to[i] = value(i)) * with[i];
  return sum + sum_of(lanes);
}

// to += scale * from
template <class T>
void add(T* to, const T* from, T scale, int64_t size) {
  for (int64_t i = 0; i < size; ++i) to[i] += scale * from[i];
}

// The functions below are for loops that should become vectors: for float without a call, to two
// units in the last place (Cephes' polynomials); for double the library's.

// e^x; of a float beyond 87 in size, NaN among them, that of 87 with its sign.
inline double exp(double x) { return std::exp(x); }
inline float exp(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves whole numbers
  // At most 87 in size, by its bits: a comparison of numbers would become a branch.
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits & 0x80000000U;
  x = std::bit_cast<float>(std::min(bits & 0x7FFFFFFFU, 0x42AE0000U) | sign);
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - 0x4B400000U + 127U;
  return (p * r * r + r + 1.0F) * std::bit_cast<float>(exponent << 23);
}

template <class T>
struct SineCosine {
  T sine, cosine;
};

// Of small angles, as after a reduction to [0, 2 pi).
inline SineCosine<double> sine_cosine(double x) { return {std::sin(x), std::cos(x)}; }
inline SineCosine<float> sine_cosine(float x) {
  constexpr float kRound = 12582912.0F;
  const float shifted = x * 0.636619772F + kRound;  // quarters of a turn
  const float k = shifted - kRound;
  const uint32_t quarter = std::bit_cast<uint32_t>(shifted);
  const float r = ((x - k * 1.5703125F) - k * 4.837512969970703125e-4F) - k * 7.54978995489188e-8F;
  const float square = r * r;
  const float sine =
      r +
      r * square * (-1.6666654611e-1F + square * (8.3321608736e-3F + square * -1.9515295891e-4F));
  const float cosine = 1.0F - 0.5F * square +
                       square * square *
                           (4.166664568298827e-2F +
                            square * (-1.388731625493765e-3F + square * 2.443315711809948e-5F));
  const float s = quarter & 1U ? cosine : sine, c = quarter & 1U ? sine : cosine;
  return {quarter & 2U ? -s : s, (quarter + 1U) & 2U ? -c : c};
}

// x / (1 + e^-x)
template <class T>
T silu(T x) {
  return x / (T(1) + exp(-x));
}

// log(1 + e^x)
template <class T>
T softplus(T x) {
  return x > T(20) ? x : std::log1p(std::exp(x));
}

}  // namespace echo::vectors
