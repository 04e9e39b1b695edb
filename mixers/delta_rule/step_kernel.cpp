#include "mixers/delta_rule/step_kernel.h"

#include <echo/vectors.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo::delta_rule {
namespace {

using at::Tensor;

constexpr double kNormEps = 1e-6;

// to[r] = silu(the convolution of channel r); memory (rows, before) takes its inputs in.
template <class T>
void convolve_row(T* to, const T* input, const T* weight, T* memory, int64_t rows, int64_t before) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* const taps = weight + r * (before + 1);
    T* const past = memory + r * before;
    T sum = taps[before] * input[r];
    for (int64_t i = 0; i < before; ++i) sum += taps[i] * past[i];
    for (int64_t i = 0; i + 1 < before; ++i) past[i] = past[i + 1];
    if (before > 0) past[before - 1] = input[r];
    to[r] = sum;
  }
  for (int64_t r = 0; r < rows; ++r) to[r] = vectors::silu(to[r]);
}

template <class T>
void normalize_row(T* x, int64_t rows, int64_t head, T scale) {
  for (int64_t r = 0; r < rows; r += head) {
    const T factor = scale / std::sqrt(vectors::dot(x + r, x + r, head) + T(kNormEps));
    for (int64_t i = r; i < r + head; ++i) x[i] *= factor;
  }
}

template <class T>
Tensor convolve_rows(const Part& part, const Tensor& memory, int64_t first, const Tensor& starts,
                     const Tensor& lengths) {
  const int64_t batch = part.map.size(0), rows = part.map.size(2), before = memory.size(2);
  Tensor result = at::zeros({batch, 1, rows}, part.map.options());
  const T* const weight = part.weight.const_data_ptr<T>();
  const bool* const cuts = starts.defined() ? starts.const_data_ptr<bool>() : nullptr;
  const int64_t* const counts = lengths.defined() ? lengths.const_data_ptr<int64_t>() : nullptr;
  for (int64_t b = 0; b < batch; ++b) {
    if (counts && counts[b] == 0) continue;  // padding: no output that counts, no memory
    const T* const input = part.map.const_data_ptr<T>() + b * part.map.stride(0);
    T* const past = static_cast<T*>(memory.data_ptr()) + (b * memory.size(1) + first) * before;
    T* const to = result.mutable_data_ptr<T>() + b * rows;
    if (cuts && cuts[b]) std::fill_n(past, rows * before, T(0));
    vectors::with_widest([&] {
      convolve_row(to, input, weight, past, rows, before);
      if (part.head > 0) normalize_row(to, rows, part.head, static_cast<T>(part.scale));
    });
  }
  return result;
}

}  // namespace

Tensor convolve(const Part& part, const Tensor& memory, int64_t first, const Tensor& starts,
                const Tensor& lengths) {
  const Tensor cuts = starts.defined() ? starts.contiguous() : starts;
  const auto run =
      part.map.scalar_type() == at::kDouble ? convolve_rows<double> : convolve_rows<float>;
  return run(part, memory, first, cuts, lengths);
}

}  // namespace echo::delta_rule
