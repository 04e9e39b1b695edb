#include "mixers/ska/step_kernel.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include <ATen/ATen.h>

#if defined(__GNUC__) && !defined(__clang__)
// A false alarm of gcc 12 about loops over rows, once a rank is known.
#pragma GCC diagnostic ignored "-Waggressive-loop-optimizations"
#endif

namespace echo::ska {
namespace {

using at::Tensor;
using vectors::add;
using vectors::dot;

// to[j] = sum_i A[i, j] x[i] for the columns [first, first + N) of A (rows, columns): the sums stay
// in registers.
template <int64_t N, class T>
void sum_columns(T* to, const T* A, const T* x, int64_t first, int64_t rows, int64_t columns) {
  T sums[N] = {};
  for (int64_t i = 0; i < rows; ++i) {
    const T* const row = A + i * columns + first;
    for (int64_t j = 0; j < N; ++j) sums[j] += x[i] * row[j];
  }
  for (int64_t j = 0; j < N; ++j) to[first + j] = sums[j];
}

// y = A^T x, A (size, size)
template <class T>
void multiply_transposed(T* y, const T* A, const T* x, int64_t size) {
  int64_t first = 0;
  for (; first + 32 <= size; first += 32) sum_columns<32>(y, A, x, first, size, size);
  for (; first + 8 <= size; first += 8) sum_columns<8>(y, A, x, first, size, size);
  for (; first < size; ++first) sum_columns<1>(y, A, x, first, size, size);
}

// Dot products of four rows at once: sums of eight lanes each, and one reduction for all. One row
// after the other would wait for the sum of its lanes.
template <class T>
class FourRows {
 public:
  typedef T Eight __attribute__((vector_size(8 * sizeof(T))));

  static void load(Eight& to, const T* from) { std::memcpy(&to, from, sizeof to); }
  static void store(T* to, const Eight& from) { std::memcpy(to, &from, sizeof from); }
  static bool fits(int64_t rows, int64_t columns) { return rows % 4 == 0 && columns % 8 == 0; }

  // Adds the products of eight columns of row r.
  void add(int64_t r, const Eight& row, const Eight& x) { sums_[r] += row * x; }

  void write(T* to) const {
    Four a, b, c, d;
    halve(a, sums_[0]);
    halve(b, sums_[1]);
    halve(c, sums_[2]);
    halve(d, sums_[3]);
    const Four ab =
        __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Four cd =
        __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const Four sums =
        __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    std::memcpy(to, &sums, sizeof sums);
  }

 private:
  typedef T Four __attribute__((vector_size(4 * sizeof(T))));

  static void halve(Four& to, const Eight& sums) {
    to = __builtin_shufflevector(sums, sums, 0, 1, 2, 3) +
         __builtin_shufflevector(sums, sums, 4, 5, 6, 7);
  }

  Eight sums_[4] = {};
};

// y = A x, A (rows, columns)
template <class T>
void multiply(T* y, const T* A, const T* x, int64_t rows, int64_t columns) {
  using Rows = FourRows<T>;
  if (!Rows::fits(rows, columns)) {
    for (int64_t i = 0; i < rows; ++i) y[i] = dot(A + i * columns, x, columns);
    return;
  }
  for (int64_t i = 0; i < rows; i += 4) {
    Rows sums;
    for (int64_t j = 0; j < columns; j += 8) {
      typename Rows::Eight with, row;
      Rows::load(with, x + j);
      for (int64_t r = 0; r < 4; ++r) {
        Rows::load(row, A + (i + r) * columns + j);
        sums.add(r, row, with);
      }
    }
    sums.write(y + i);
  }
}

// A += left right^T, then y = A x.
template <class T>
void add_outer_multiply(T* y, T* A, const T* left, const T* right, const T* x, int64_t rows,
                        int64_t columns) {
  using Rows = FourRows<T>;
  if (!Rows::fits(rows, columns)) {
    for (int64_t i = 0; i < rows; ++i) {
      T* const row = A + i * columns;
      add(row, right, left[i], columns);
      y[i] = dot(row, x, columns);
    }
    return;
  }
  for (int64_t i = 0; i < rows; i += 4) {
    Rows sums;
    for (int64_t j = 0; j < columns; j += 8) {
      typename Rows::Eight with, added, row;
      Rows::load(with, x + j);
      Rows::load(added, right + j);
      for (int64_t r = 0; r < 4; ++r) {
        T* const at = A + (i + r) * columns + j;
        Rows::load(row, at);
        row += left[i + r] * added;
        Rows::store(at, row);
        sums.add(r, row, with);
      }
    }
    sums.write(y + i);
  }
}

// One token of one head, scaled.
template <class T>
struct Token {
  T *key, *query, *value;
  T plain, filtered;
  bool gated;
  bool valid;  // false: padding
};

// One head of one row.
template <class T>
struct Head {
  int64_t rank, width;
  T *G, *M, *C, *factor, *previous;  // M null at power 0
  T* scratch;                        // six vectors of the rank

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

  // The factor U after the key, and u = U U^T q with it. With a = U^T z and w = U^T q of the factor
  // before, U^T q becomes w - scale (a . w) a.
  void update_factor(T* u, const T* z, const T* q) const {
    T* const a = scratch;
    T* const w = scratch + rank;
    multiply_transposed(a, factor, z, rank);
    multiply_transposed(w, factor, q, rank);
    const T square = 1 + dot(a, a, rank);
    const T scale = -1 / (square + std::sqrt(square));
    add(w, a, scale * dot(a, w, rank), rank);
    T* const shares = scratch + 2 * rank;  // of a in every row
    multiply(shares, factor, a, rank, rank);
    for (int64_t i = 0; i < rank; ++i) shares[i] *= scale;
    add_outer_multiply(u, factor, shares, a, w, rank, rank);
  }

  void solve(T* u, const T* x) const {  // u = U U^T x
    T* const w = scratch;
    multiply_transposed(w, factor, x, rank);
    multiply(u, factor, w, rank, rank);
  }

  // Takes the token in, and reads for it. A matrix is changed where it is read for the first time.
  void step(T* y, const Token<T>& token, const Reading& reading) const {
    T* const first = scratch + 3 * rank;
    T* const u = scratch + 4 * rank;
    T* const x = scratch + 5 * rank;
    const T* const z = token.key;
    update_factor(first, z, token.query);
    for (int64_t i = 0; i < rank; ++i) add(G + i * rank, z, z[i], rank);
    std::copy(first, first + rank, u);
    for (int64_t k = 0; k < reading.power; ++k) {
      if (k == 0) {
        add_outer_multiply(x, M, z, previous, u, rank, rank);
      } else {
        multiply(x, M, u, rank, rank);
      }
      solve(u, x);
    }
    if (token.gated) {
      for (int64_t i = 0; i < rank; ++i) u[i] = token.plain * first[i] + token.filtered * u[i];
    }
    add_outer_multiply(y, C, token.value, reading.value_lag ? previous : z, u, width, rank);
    if (token.valid) std::copy(z, z + rank, previous);
  }
};

// Heads as the kernel sees them.
template <class T>
struct Rows {
  const T* rows;
  const T* weight;  // (B, T, H), or null
  int64_t strides[3], weight_strides[3];
  int64_t width;
  bool normalise;

  explicit Rows(const Heads& heads)
      : rows(heads.rows.const_data_ptr<T>()),
        weight(heads.weight.defined() ? heads.weight.const_data_ptr<T>() : nullptr),
        width(heads.rows.size(3)),
        normalise(heads.normalise) {
    for (int64_t i = 0; i < 3; ++i) {
      strides[i] = heads.rows.stride(i);
      weight_strides[i] = weight ? heads.weight.stride(i) : 0;
    }
  }

  void scale(T* to, int64_t b, int64_t t, int64_t h) const {
    const T* const row = rows + b * strides[0] + t * strides[1] + h * strides[2];
    const auto& s = weight_strides;
    T factor = weight ? weight[b * s[0] + t * s[1] + h * s[2]] : T(1);
    if (normalise) factor /= std::sqrt(dot(row, row, width) + static_cast<T>(kEpsilon));
    for (int64_t i = 0; i < width; ++i) to[i] = factor * row[i];
  }
};

// The tokens of a sequence, as the kernel sees them; y (B, T, H, P).
template <class T>
struct Sequence {
  Rows<T> keys, queries, values;
  const T *plain, *filtered;  // (B, T, H, 1), or null
  const bool* starts;
  const int64_t* lengths;
  T* y;
  int64_t length, heads;

  // scratch: two vectors of the rank and one of the width.
  void run(const Head<T>& head, const Reading& reading, T* scratch, int64_t b, int64_t h) const {
    for (int64_t t = 0; t < length; ++t) {
      const int64_t at = (b * length + t) * heads + h;
      const Token<T> token{scratch,
                           scratch + head.rank,
                           scratch + 2 * head.rank,
                           plain ? plain[at] : T(0),
                           plain ? filtered[at] : T(1),
                           plain != nullptr,
                           !lengths || t < lengths[b]};
      keys.scale(token.key, b, t, h);
      queries.scale(token.query, b, t, h);
      values.scale(token.value, b, t, h);
      if (starts && starts[b * length + t]) head.restart(static_cast<T>(reading.ridge));
      head.step(y + at * head.width, token, reading);
    }
  }
};

// Usual ranks are known to the compiler, which then keeps whole rows in registers.
template <class T>
void run_sequence(const Sequence<T>& sequence, Head<T> head, const Reading& reading, T* scratch,
                  int64_t b, int64_t h) {
  const auto with_rank = [&](auto rank) {
    head.rank = rank;
    sequence.run(head, reading, scratch, b, h);
  };
  switch (head.rank) {
    case 24:
      return with_rank(std::integral_constant<int64_t, 24>());
    case 32:
      return with_rank(std::integral_constant<int64_t, 32>());
    case 48:
      return with_rank(std::integral_constant<int64_t, 48>());
    default:
      return with_rank(head.rank);
  }
}

// With contiguous rows.
Heads readable(const Heads& heads) {
  return {heads.rows.stride(-1) == 1 ? heads.rows : heads.rows.contiguous(), heads.weight,
          heads.normalise};
}

template <class T>
Tensor run(const Features& features, const Reading& reading, const StepMemory& memory) {
  const auto contiguous = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.contiguous() : tensor;
  };
  const auto pointer = [](const Tensor& tensor, int64_t offset = 0) {
    return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) + offset : nullptr;
  };
  const Heads keys = readable(features.keys), queries = readable(features.queries);
  const Heads values = readable(features.values);
  const Tensor starts = contiguous(features.starts), counts = contiguous(features.lengths);
  const Tensor plain = contiguous(features.plain), filtered = contiguous(features.filtered);
  const int64_t batch = keys.rows.size(0), length = keys.rows.size(1), heads = keys.rows.size(2);
  const int64_t rank = keys.rows.size(3), width = values.rows.size(3);
  const Statistics& statistics = memory.statistics;
  Tensor y = at::empty(values.rows.sizes(), values.rows.options());
  const Sequence<T> sequence{Rows<T>(keys),
                             Rows<T>(queries),
                             Rows<T>(values),
                             pointer(plain),
                             pointer(filtered),
                             starts.defined() ? starts.const_data_ptr<bool>() : nullptr,
                             counts.defined() ? counts.const_data_ptr<int64_t>() : nullptr,
                             pointer(y),
                             length,
                             heads};
  const int64_t work = length * rank * (6 * rank + width);  // numbers touched per head
  parallel_for(
      0, batch * heads, std::max<int64_t>(1, (1 << 17) / work), [&](int64_t begin, int64_t end) {
        std::vector<T> scratch(static_cast<size_t>(8 * rank + width));
        for (int64_t i = begin; i < end; ++i) {
          const Head<T> head{rank,
                             width,
                             pointer(statistics.G, i * rank * rank),
                             pointer(statistics.M, i * rank * rank),
                             pointer(statistics.C, i * width * rank),
                             pointer(memory.factor, i * rank * rank),
                             pointer(memory.previous, i * rank),
                             scratch.data()};
          vectors::with_widest([&] {
            run_sequence(sequence, head, reading, scratch.data() + 6 * rank, i / heads, i % heads);
          });
        }
      });
  return y;
}

}  // namespace

Tensor read_steps_kernel(const Features& features, const Reading& reading,
                         const StepMemory& memory) {
  return features.keys.rows.scalar_type() == at::kDouble ? run<double>(features, reading, memory)
                                                         : run<float>(features, reading, memory);
}

}  // namespace echo::ska
