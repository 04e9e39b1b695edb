#include "framework/src/ops/triangle.h"

#include "framework/src/ops/kernel.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>

namespace echo::ops {

namespace {

// Row i of the inverse is e_i - sum_{j<i} lower_ij (row j).
template <class T>
void invert(const T* lower, T* inverse, int64_t size) {
  for (int64_t i = 0; i < size; ++i) {
    T* const row = inverse + i * size;
    std::fill(row, row + size, T(0));
    row[i] = T(1);
    for (int64_t j = 0; j < i; ++j)
      vectors::add(row, inverse + j * size, -lower[i * size + j], j + 1);
  }
}

template <class T>
void invert_all(const at::Tensor& lower, at::Tensor& inverse) {
  const int64_t size = lower.size(-1);
  const T* const from = lower.const_data_ptr<T>();
  T* const to = inverse.mutable_data_ptr<T>();
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / (size * size * size + 1));
  parallel_for(0, lower.numel() / (size * size), grain, [&](int64_t begin, int64_t end) {
    vectors::with_widest([&] {
      for (int64_t i = begin; i < end; ++i)
        invert(from + i * size * size, to + i * size * size, size);
    });
  });
}

}  // namespace

at::Tensor unit_lower_inverse(const at::Tensor& lower) {
  const bool known = lower.scalar_type() == at::kFloat || lower.scalar_type() == at::kDouble;
  if (!lower.is_cpu() || !known) {
    const at::Tensor one = at::eye(lower.size(-1), lower.options()).expand_as(lower);
    return at::linalg_solve_triangular(lower, one, false, true, true);
  }
  const at::Tensor from = lower.contiguous();
  at::Tensor inverse = at::empty(from.sizes(), from.options());
  if (from.scalar_type() == at::kDouble) {
    invert_all<double>(from, inverse);
  } else {
    invert_all<float>(from, inverse);
  }
  return inverse;
}

}  // namespace echo::ops
