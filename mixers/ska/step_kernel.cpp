#include "mixers/ska/step_kernel.h"

#include "mixers/ska/vectors.h"

#include <echo/parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// y = A x, A (rows, columns)
template <class T>
void multiply(T* y, const T* A, const T* x, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) y[i] = dot(A + i * columns, x, columns);
}

// y = A^T x, A (size, size)
template <class T>
void multiply_transposed(T* y, const T* A, const T* x, int64_t size) {
  std::fill(y, y + size, T(0));
  for (int64_t i = 0; i < size; ++i) add(y, A + i * size, x[i], size);
}

// A += scale left right^T
template <class T>
void add_outer(T* A, const T* left, const T* right, T scale, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) add(A + i * columns, right, scale * left[i], columns);
}

// One head of one row.
template <class T>
struct Head {
  int64_t rank, width;
  T *G, *M, *C, *factor, *previous;  // M null at power 0
  T* scratch;                        // four vectors of the rank

  void restart(T ridge) const {
    const int64_t square = rank * rank;
    std::fill(G, G + square, T(0));
    std::fill(factor, factor + square, T(0));
    if (M) std::fill(M, M + square, T(0));
    std::fill(C, C + width * rank, T(0));
    std::fill(previous, previous + rank, T(0));
    for (int64_t i = 0; i < rank; ++i) {
      G[i * (rank + 1)] = ridge;
      factor[i * (rank + 1)] = 1 / std::sqrt(ridge);
    }
  }

  void update(const T* z, const T* v, bool value_lag) const {
    T* const a = scratch;
    T* const gain = scratch + rank;
    multiply_transposed(a, factor, z, rank);
    multiply(gain, factor, a, rank, rank);
    const T square = 1 + dot(a, a, rank);
    add_outer(factor, gain, a, -1 / (square + std::sqrt(square)), rank, rank);
    add_outer(G, z, z, T(1), rank, rank);
    if (M) add_outer(M, z, previous, T(1), rank, rank);
    add_outer(C, v, value_lag ? previous : z, T(1), width, rank);
  }

  void solve(T* u, const T* x) const {  // u = U U^T x; u may be x
    T* const w = scratch;
    multiply_transposed(w, factor, x, rank);
    multiply(u, factor, w, rank, rank);
  }

  // `plain` and `filtered` as in Chunks, or null.
  void read(T* y, const T* q, int64_t power, const T* plain, const T* filtered) const {
    T* const first = scratch + rank;
    T* const u = scratch + 2 * rank;
    T* const x = scratch + 3 * rank;
    solve(first, q);
    std::copy(first, first + rank, u);
    for (int64_t k = 0; k < power; ++k) {
      multiply(x, M, u, rank, rank);
      solve(u, x);
    }
    if (plain) {
      for (int64_t i = 0; i < rank; ++i) u[i] = *plain * first[i] + *filtered * u[i];
    }
    multiply(y, C, u, width, rank);
  }
};

// The tokens of a sequence, as the kernel sees them; y (B, T, H, P).
template <class T>
struct Sequence {
  const T *keys, *queries, *values, *plain, *filtered;
  const bool* starts;
  const int64_t* lengths;
  T* y;
  int64_t length, heads;

  void run(const Head<T>& head, const Reading& reading, int64_t b, int64_t h) const {
    for (int64_t t = 0; t < length; ++t) {
      const int64_t token = b * length + t;
      const int64_t at = token * heads + h;
      const T* const z = keys + at * head.rank;
      if (starts && starts[token]) head.restart(static_cast<T>(reading.ridge));
      head.update(z, values + at * head.width, reading.value_lag);
      if (!lengths || t < lengths[b]) std::copy(z, z + head.rank, head.previous);
      head.read(y + at * head.width, queries + at * head.rank, reading.power,
                plain ? plain + at : nullptr, plain ? filtered + at : nullptr);
    }
  }
};

template <class T>
void run_baseline(const Sequence<T>& sequence, const Head<T>& head, const Reading& reading,
                  int64_t b, int64_t h) {
  sequence.run(head, reading, b, h);
}

template <class T>
ECHO_AVX2 void run_avx2(const Sequence<T>& sequence, const Head<T>& head, const Reading& reading,
                        int64_t b, int64_t h) {
  sequence.run(head, reading, b, h);
}

template <class T>
Tensor run(const Tokens& tokens, const Reading& reading, const StepMemory& memory) {
  const int64_t heads = tokens.keys.size(2), rank = tokens.keys.size(3);
  const int64_t width = tokens.values.size(3);
  const Statistics& statistics = memory.statistics;
  const auto input = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.contiguous() : tensor;
  };
  const auto pointer = [](const Tensor& tensor, int64_t offset = 0) {
    return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) + offset : nullptr;
  };
  const Tensor keys = input(tokens.keys), queries = input(tokens.queries);
  const Tensor values = input(tokens.values), starts = input(tokens.starts);
  const Tensor plain = input(tokens.plain), filtered = input(tokens.filtered);
  const Tensor counts = input(tokens.lengths);
  Tensor y = at::empty(values.sizes(), values.options());
  const Sequence<T> sequence{pointer(keys),
                             pointer(queries),
                             pointer(values),
                             pointer(plain),
                             pointer(filtered),
                             starts.defined() ? starts.const_data_ptr<bool>() : nullptr,
                             counts.defined() ? counts.const_data_ptr<int64_t>() : nullptr,
                             pointer(y),
                             tokens.keys.size(1),
                             heads};
  const auto each = use_avx2() ? run_avx2<T> : run_baseline<T>;
  const int64_t work = sequence.length * rank * (6 * rank + width);  // numbers touched per head
  parallel_for(0, tokens.keys.size(0) * heads, std::max<int64_t>(1, (1 << 17) / work),
               [&](int64_t begin, int64_t end) {
                 std::vector<T> scratch(static_cast<size_t>(4 * rank));
                 for (int64_t i = begin; i < end; ++i) {
                   const Head<T> head{rank,
                                      width,
                                      pointer(statistics.G, i * rank * rank),
                                      pointer(statistics.M, i * rank * rank),
                                      pointer(statistics.C, i * width * rank),
                                      pointer(memory.factor, i * rank * rank),
                                      pointer(memory.previous, i * rank),
                                      scratch.data()};
                   each(sequence, head, reading, i / heads, i % heads);
                 }
               });
  return y;
}

}  // namespace

Tensor read_steps_kernel(const Tokens& tokens, const Reading& reading, const StepMemory& memory) {
  return tokens.keys.scalar_type() == at::kDouble ? run<double>(tokens, reading, memory)
                                                  : run<float>(tokens, reading, memory);
}

}  // namespace echo::ska
