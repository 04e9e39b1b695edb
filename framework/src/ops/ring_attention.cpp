#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>

namespace echo {

namespace {

using ops::Rows;
using ops::Wide;

constexpr int64_t kBlock = 128;  // slots whose keys stay in a near cache while all heads read them

// One query head while it walks along a ring.
template <class W>
struct Head {
  W largest = -std::numeric_limits<W>::infinity();
  double sum = 0;           // of exp(score - largest)
  std::vector<W> weighted;  // of exp(score - largest) v, (P)
};

// Adds a block of n slots to what a head has read.
template <class T>
void read_block(Head<Wide<T>>& head, const T* q, const T* k, const T* v, int64_t n, int64_t width,
                std::vector<Wide<T>>& sums) {
  using W = Wide<T>;
  W scores[kBlock];
  const W scale = W(1) / std::sqrt(static_cast<W>(width));
  W largest = head.largest;
  for (int64_t s = 0; s < n; ++s) {
    const T* const key = k + s * width;
    scores[s] = scale * ops::lane_sum<W>(width, [&](int64_t i) {
                  return static_cast<W>(q[i]) * static_cast<W>(key[i]);
                });
    largest = std::max(largest, scores[s]);
  }
  std::fill(sums.begin(), sums.end(), W(0));
  double weights = 0;
  for (int64_t s = 0; s < n; ++s) {
    const W weight = std::exp(scores[s] - largest);
    const T* const value = v + s * width;
    weights += static_cast<double>(weight);
    for (int64_t i = 0; i < width; ++i)
      sums[static_cast<size_t>(i)] += weight * static_cast<W>(value[i]);
  }
  const W shrink = std::exp(head.largest - largest);  // 0 before the first block
  head.largest = largest;
  head.sum = head.sum * static_cast<double>(shrink) + weights;
  for (size_t i = 0; i < sums.size(); ++i) head.weighted[i] = head.weighted[i] * shrink + sums[i];
}

// The query heads of one group, each a row of q, over the first `slots` slots of its ring.
template <class T>
void read_ring(const Rows& q, int64_t first_head, int64_t heads, const T* k, const T* v,
               int64_t slots, T* out) {
  using W = Wide<T>;
  const int64_t width = q.width();
  const T* const queries = q.tensor().const_data_ptr<T>();
  std::vector<W> sums(static_cast<size_t>(width));
  std::vector<Head<W>> read(static_cast<size_t>(heads));
  for (Head<W>& head : read) head.weighted.assign(static_cast<size_t>(width), W(0));
  for (int64_t s = 0; s < slots; s += kBlock) {
    for (int64_t h = 0; h < heads; ++h) {
      read_block(read[static_cast<size_t>(h)], queries + q.offset(first_head + h), k + s * width,
                 v + s * width, std::min(kBlock, slots - s), width, sums);
    }
  }
  for (const Head<W>& head : read) {
    const W scale = head.sum > 0 ? static_cast<W>(1 / head.sum) : W(0);
    for (const W value : head.weighted) *out++ = static_cast<T>(value * scale);
  }
}

template <class T>
void attend_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor& ring_k,
                 at::Tensor& ring_v, const at::Tensor& positions, const at::Tensor& lengths,
                 at::Tensor& out) {
  const Rows queries(q), keys(k), values(v);
  const int64_t groups = ring_k.size(1), capacity = ring_k.size(2), width = ring_k.size(3);
  const int64_t heads = q.size(2) / groups;
  const at::Tensor contiguous = positions.contiguous();
  const int64_t* const position = contiguous.const_data_ptr<int64_t>();
  const at::Tensor counts = lengths.defined() ? lengths.contiguous() : lengths;
  const int64_t* const count = counts.defined() ? counts.const_data_ptr<int64_t>() : nullptr;
  T* const to_k = ring_k.mutable_data_ptr<T>();
  T* const to_v = ring_v.mutable_data_ptr<T>();
  T* const y = out.mutable_data_ptr<T>();
  const int64_t longest = std::min(capacity, 1 + *std::max_element(position, position + q.size(0)));
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / (longest * width * heads));
  parallel_for(0, q.size(0) * groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / groups;
      T* const ring = to_k + row * capacity * width;
      T* const ring_of_values = to_v + row * capacity * width;
      const bool valid = !count || count[b] > 0;
      if (valid) {
        const int64_t slot = position[b] % capacity * width;
        std::copy_n(keys.tensor().const_data_ptr<T>() + keys.offset(row), width, ring + slot);
        std::copy_n(values.tensor().const_data_ptr<T>() + values.offset(row), width,
                    ring_of_values + slot);
      }
      read_ring<T>(queries, row * heads, heads, ring, ring_of_values,
                   std::min(capacity, position[b] + (valid ? 1 : 0)), y + row * heads * width);
    }
  });
}

}  // namespace

at::Tensor attend_ring(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       at::Tensor ring_k, at::Tensor ring_v, const at::Tensor& positions,
                       const at::Tensor& lengths) {
  ECHO_CHECK(q.size(1) == 1 && q.size(2) % ring_k.size(1) == 0 && q.size(3) == ring_k.size(3) &&
                 ring_k.sizes() == ring_v.sizes(),
             "one token " << q.sizes() << " against a ring " << ring_k.sizes());
  const bool kernel = ops::has_kernel(q) && ring_k.scalar_type() == q.scalar_type() &&
                      ring_k.is_contiguous() && ring_v.is_contiguous();
  if (!kernel) return reference::attend_ring(q, k, v, ring_k, ring_v, positions, lengths);
  at::Tensor y = at::empty(q.sizes(), q.options());
  ops::with_type(q, [&](auto type) {
    attend_rows<decltype(type)>(q, k, v, ring_k, ring_v, positions, lengths, y);
  });
  return y;
}

}  // namespace echo
