#include "framework/src/ops/delta_step.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ops {

namespace {

using at::Tensor;

template <int64_t count>
using Rows = std::integral_constant<int64_t, count>;

// One head of one row for one token.
template <class T>
struct Token {
  const T *q, *k, *v;  // (K), (K), (V)
  const T* decay;      // (K)
  const T* beta;       // null: what is written is v
};

// So many rows of a memory are worked on together: what they add up in is loaded and stored once.
constexpr int64_t kTogether = 4;

// left -= sum_i k_i decay_i S_i, over `rows` rows of the memory S
template <class T, int64_t rows>
void subtract_known(const T* decay, const T* k, const T* __restrict memory, T* __restrict left,
                    int64_t values) {
  for (int64_t j = 0; j < values; ++j) {
    T known = 0;
    for (int64_t i = 0; i < rows; ++i) known += decay[i] * k[i] * memory[i * values + j];
    left[j] -= known;
  }
}

// S_i = decay_i S_i + k_i written^T; o += sum_i q_i S_i
template <class T, int64_t rows>
void write_and_read(const T* decay, const T* k, const T* q, const T* __restrict written,
                    T* __restrict memory, T* __restrict o, int64_t values) {
  for (int64_t j = 0; j < values; ++j) {
    T read = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const T now = decay[i] * memory[i * values + j] + k[i] * written[j];
      memory[i * values + j] = now;
      read += q[i] * now;
    }
    o[j] += read;
  }
}

// memory (K, V), o (V), written: scratch (V).
template <class T>
void run_token(const Token<T>& token, T* memory, T* o, T* written, int64_t keys, int64_t values) {
  const int64_t whole = keys / kTogether * kTogether;
  std::copy(token.v, token.v + values, written);
  if (token.beta) {
    const auto subtract = [&](auto rows, int64_t i) {
      subtract_known<T, rows>(token.decay + i, token.k + i, memory + i * values, written, values);
    };
    for (int64_t i = 0; i < whole; i += kTogether) subtract(Rows<kTogether>{}, i);
    for (int64_t i = whole; i < keys; ++i) subtract(Rows<1>{}, i);
    for (int64_t j = 0; j < values; ++j) written[j] *= *token.beta;
  }
  std::fill(o, o + values, T(0));
  const auto write = [&](auto rows, int64_t i) {
    write_and_read<T, rows>(token.decay + i, token.k + i, token.q + i, written, memory + i * values,
                            o, values);
  };
  for (int64_t i = 0; i < whole; i += kTogether) write(Rows<kTogether>{}, i);
  for (int64_t i = whole; i < keys; ++i) write(Rows<1>{}, i);
}

template <class T>
const T* data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

Tensor whole(const Tensor& tensor) { return tensor.defined() ? tensor.contiguous() : tensor; }

template <class T>
Tensor recur(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& g, const Tensor& beta,
             Tensor& memory, const Tensor& starts, const Tensor& lengths) {
  const int64_t B = q.size(0), L = q.size(1), G = q.size(2), K = q.size(3);
  const int64_t H = v.size(2), V = v.size(3), ratio = H / G;
  const int64_t rates = g.defined() && g.dim() == 4 ? K : 1;  // decays of a head
  Tensor o = at::empty({B, L, H, V}, v.options());
  const T *const queries = data_of<T>(q), *const keys = data_of<T>(k),
                 *const inputs = data_of<T>(v);
  const T *const logs = data_of<T>(g), *const betas = data_of<T>(beta);
  const bool* const begins = data_of<bool>(starts);
  const int64_t* const valid = data_of<int64_t>(lengths);
  T* const to = o.mutable_data_ptr<T>();
  T* const kept = memory.mutable_data_ptr<T>();
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / (K * V));
  parallel_for(0, B * H, grain, [&](int64_t first, int64_t last) {
    std::vector<T> decay(static_cast<size_t>(K), T(1)), written(static_cast<size_t>(V));
    std::vector<T> spare;  // takes what padding would do to the memory
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i / H, h = i % H;
      T* const own = kept + i * K * V;
      for (int64_t t = 0; t < L; ++t) {
        const int64_t at = row * L + t, head = at * H + h, group = at * G + h / ratio;
        T* now = own;
        if (valid && t >= valid[row]) {
          spare.assign(own, own + K * V);
          now = spare.data();
        }
        if (begins && begins[at]) std::fill(now, now + K * V, T(0));
        if (rates == K && logs) {
          for (int64_t c = 0; c < K; ++c)
            decay[static_cast<size_t>(c)] = std::exp(logs[head * K + c]);
        } else if (logs) {
          std::fill(decay.begin(), decay.end(), std::exp(logs[head]));
        }
        const Token<T> token{queries + group * K, keys + group * K, inputs + head * V, decay.data(),
                             betas ? betas + head : nullptr};
        vectors::with_widest([&] { run_token(token, now, to + head * V, written.data(), K, V); });
      }
    }
  });
  return o;
}

}  // namespace

Tensor recur_in_place(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& g,
                      const Tensor& beta, Tensor memory, const Span& span) {
  const auto run = v.scalar_type() == at::kDouble ? recur<double> : recur<float>;
  return run(whole(q), whole(k), whole(v), whole(g), whole(beta), memory, whole(span.starts),
             whole(span.lengths));
}

}  // namespace echo::ops
