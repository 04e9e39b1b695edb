#include "framework/src/ops/delta_step.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ops {

namespace {

using at::Tensor;

// One head of one row for one token.
template <class T>
struct Token {
  const T *q, *k, *v;  // (K), (K), (V)
  const T* decay;      // (K)
  const T* beta;       // null: what is written is v
};

// memory (K, V), o (V), written: scratch (V).
template <class T>
void run_token(const Token<T>& token, T* memory, T* o, T* written, int64_t keys, int64_t values) {
  std::copy(token.v, token.v + values, written);
  if (token.beta) {
    for (int64_t i = 0; i < keys; ++i)
      vectors::add(written, memory + i * values, -token.decay[i] * token.k[i], values);
    for (int64_t j = 0; j < values; ++j) written[j] *= *token.beta;
  }
  std::fill(o, o + values, T(0));
  for (int64_t i = 0; i < keys; ++i) {
    T* const row = memory + i * values;
    const T decay = token.decay[i], key = token.k[i], query = token.q[i];
    for (int64_t j = 0; j < values; ++j) {
      const T now = decay * row[j] + key * written[j];
      row[j] = now;
      o[j] += query * now;
    }
  }
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
