#include "mixers/ska/inverse_factor.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

// Small matrices leave no room for vectors along a row. So as many of them as a register of 32
// bytes has lanes are factored together, and element (i, j) of all of them is one vector.
template <class T>
constexpr int64_t kLanes = 32 / sizeof(T);

template <class T>
struct LanesOf {
  typedef T Type __attribute__((vector_size(32)));
};
template <class T>
using Lanes = typename LanesOf<T>::Type;

// Rows of the upper triangle, packed: row i starts at offset(i) + i and ends at the last column.
int64_t offset(int64_t row, int64_t size) { return row * size - row * (row + 1) / 2; }

// target[j] -= source[j] * factor for j in [from, to)
template <class Vector>
void subtract(Vector* target, const Vector* source, const Vector& factor, int64_t from,
              int64_t to) {
  for (int64_t j = from; j < to; ++j) target[j] -= source[j] * factor;
}

// `rows` holds the upper triangles of A; on return those of U. A = R^T R, right-looking, then
// U = R^-1 by columns of its transpose, in place.
template <class T>
void invert_lanes(Lanes<T>* rows, Lanes<T>* reciprocals, Lanes<T>* column, int64_t size, T floor) {
  using Vector = Lanes<T>;
  const Vector lowest = Vector{} + floor;
  for (int64_t i = 0; i < size; ++i) {
    Vector* row = rows + offset(i, size);
    const Vector pivot = row[i] < lowest ? lowest : row[i];
    for (int64_t lane = 0; lane < kLanes<T>; ++lane)
      reciprocals[i][lane] = T(1) / std::sqrt(pivot[lane]);
    for (int64_t j = i; j < size; ++j) row[j] *= reciprocals[i];
    for (int64_t k = i + 1; k < size; ++k) subtract(rows + offset(k, size), row, row[k], k, size);
  }
  for (int64_t i = 0; i < size; ++i) {
    std::fill(column + i, column + size, Vector{});
    column[i] = Vector{} + T(1);
    for (int64_t k = i; k < size; ++k) {
      column[k] *= reciprocals[k];
      subtract(column, rows + offset(k, size), column[k], k + 1, size);
    }
    std::copy(column + i, column + size, rows + offset(i, size) + i);
  }
}

template <class T>
struct Group {
  const T* matrices;
  T* factors;
  int64_t size;
  int64_t count;  // at most kLanes<T>
  T floor;
};

template <class T>
void invert_group(const Group<T>& group, Lanes<T>* memory) {
  const int64_t size = group.size;
  Lanes<T>* rows = memory;
  Lanes<T>* reciprocals = rows + size * (size + 1) / 2;
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    const T* matrix = group.matrices + std::min(lane, group.count - 1) * size * size;
    for (int64_t i = 0; i < size; ++i) {
      Lanes<T>* row = rows + offset(i, size);
      for (int64_t j = i; j < size; ++j) row[j][lane] = matrix[j * size + i];
    }
  }
  invert_lanes<T>(rows, reciprocals, reciprocals + size, size, group.floor);
  for (int64_t lane = 0; lane < group.count; ++lane) {
    T* factor = group.factors + lane * size * size;
    for (int64_t i = 0; i < size; ++i) {
      const Lanes<T>* row = rows + offset(i, size);
      std::fill(factor + i * size, factor + i * size + i, T(0));
      for (int64_t j = i; j < size; ++j) factor[i * size + j] = row[j][lane];
    }
  }
}

template <class T>
at::Tensor on_cpu(const at::Tensor& matrices, double floor) {
  const int64_t count = matrices.size(0);
  const int64_t size = matrices.size(1);
  at::Tensor factors = at::empty_like(matrices);
  const T* from = matrices.const_data_ptr<T>();
  T* to = factors.mutable_data_ptr<T>();
  parallel_for(0, (count + kLanes<T> - 1) / kLanes<T>, 1, [&](int64_t begin, int64_t end) {
    const int64_t needed = size * (size + 1) / 2 + 2 * size;
    const at::Tensor memory = at::empty({needed, kLanes<T>}, matrices.options());  // aligned
    for (int64_t group = begin; group < end; ++group) {
      const int64_t first = group * kLanes<T>;
      const Group<T> own{from + first * size * size, to + first * size * size, size,
                         std::min(kLanes<T>, count - first), static_cast<T>(floor)};
      auto* const lanes = reinterpret_cast<Lanes<T>*>(memory.mutable_data_ptr<T>());
      vectors::with_widest([&] { invert_group<T>(own, lanes); });
    }
  });
  return factors;
}

}  // namespace

at::Tensor inverse_factor(const at::Tensor& matrices, double floor) {
  if (!matrices.is_cpu()) return inverse_factor_reference(matrices);
  const at::Tensor contiguous = matrices.contiguous();
  return contiguous.scalar_type() == at::kDouble ? on_cpu<double>(contiguous, floor)
                                                 : on_cpu<float>(contiguous, floor);
}

at::Tensor inverse_factor_reference(const at::Tensor& matrices) {
  const at::Tensor lower = std::get<0>(at::linalg_cholesky_ex(matrices));
  const at::Tensor identity = at::eye(matrices.size(-1), matrices.options()).expand_as(matrices);
  return at::linalg_solve_triangular(lower, identity, /*upper=*/false)
      .transpose(-2, -1)
      .contiguous();
}

}  // namespace echo::ska
