#include "mixers/mamba2/step_kernel.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

namespace echo::mamba2 {
namespace {

using at::Tensor;
using vectors::dot;

template <class T>
struct Sizes {
  int64_t heads, width, state, groups, taps;  // H, P, N, G, W
  T least_step, largest_step, eps;

  int64_t inner() const { return heads * width; }
  int64_t channels() const { return inner() + 2 * groups * state; }
  int64_t rows() const { return inner() + channels() + heads; }
};

template <class T>
struct Weights {
  const T *conv, *conv_bias, *dt_bias, *A_log, *D, *norm;  // conv_bias and norm may be null
};

template <class T>
struct Memories {
  T *conv, *ssm;
};

// The token of one row.
template <class T>
class Token {
 public:
  // mixed: scratch of `channels` numbers.
  Token(const Sizes<T>& sizes, const Weights<T>& weights, const T* projected, T* mixed)
      : sizes_(sizes),
        weights_(weights),
        z_(projected),
        input_(projected + sizes.inner()),
        dt_(input_ + sizes.channels()),
        mixed_(mixed) {}

  void run(T* y, const Memories<T>& memories, bool start) const {
    if (start) std::fill_n(memories.conv, sizes_.channels() * (sizes_.taps - 1), T(0));
    convolve(memories.conv);
    scan(y, memories.ssm, start);
    gate_and_norm(y);
  }

 private:
  // x, B and C of the token; memory (channels, W - 1) takes its inputs in.
  void convolve(T* memory) const {
    const int64_t channels = sizes_.channels(), before = sizes_.taps - 1;
    for (int64_t c = 0; c < channels; ++c) {
      const T* const weight = weights_.conv + c * sizes_.taps;
      T* const past = memory + c * before;
      T sum = (weights_.conv_bias ? weights_.conv_bias[c] : T(0)) + weight[before] * input_[c];
      for (int64_t i = 0; i < before; ++i) sum += weight[i] * past[i];
      for (int64_t i = 0; i + 1 < before; ++i) past[i] = past[i + 1];
      if (before > 0) past[before - 1] = input_[c];
      mixed_[c] = sum;
    }
    for (int64_t c = 0; c < channels; ++c) mixed_[c] = vectors::silu(mixed_[c]);
  }

  // memory (H, P, N)
  void scan(T* y, T* memory, bool start) const {
    const int64_t P = sizes_.width, N = sizes_.state, ratio = sizes_.heads / sizes_.groups;
    const T* const keys = mixed_ + sizes_.inner();
    const T* const queries = keys + sizes_.groups * N;
    for (int64_t h = 0; h < sizes_.heads; ++h) {
      const T step = std::clamp(vectors::softplus(dt_[h] + weights_.dt_bias[h]), sizes_.least_step,
                                sizes_.largest_step);
      const T decay = std::exp(-step * std::exp(weights_.A_log[h]));
      const T* const key = keys + h / ratio * N;
      const T* const query = queries + h / ratio * N;
      if (start) std::fill(memory + h * P * N, memory + (h + 1) * P * N, T(0));
      for (int64_t p = h * P; p < (h + 1) * P; ++p) {
        T* const row = memory + p * N;
        const T input = step * mixed_[p];
        const T read = vectors::assign_dot(
            row, query, N, [=](int64_t i) { return decay * row[i] + input * key[i]; });
        y[p] = read + weights_.D[h] * mixed_[p];
      }
    }
  }

  void gate_and_norm(T* y) const {
    const int64_t width = sizes_.inner() / sizes_.groups;
    for (int64_t i = 0; i < sizes_.inner(); ++i) y[i] *= vectors::silu(z_[i]);
    if (!weights_.norm) return;
    for (int64_t g = 0; g < sizes_.groups; ++g) {
      T* const own = y + g * width;
      const T* const weight = weights_.norm + g * width;
      const T scale = 1 / std::sqrt(dot(own, own, width) / static_cast<T>(width) + sizes_.eps);
      for (int64_t i = 0; i < width; ++i) own[i] *= scale * weight[i];
    }
  }

  const Sizes<T>& sizes_;
  const Weights<T>& weights_;
  const T *z_, *input_, *dt_;
  T* mixed_;
};

template <class T>
Tensor step_rows(const Layer& layer, const Tensor& projected, const Tensor& conv, const Tensor& ssm,
                 const Tensor& starts, const Tensor& lengths) {
  const auto data = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
  };
  const Sizes<T> sizes{ssm.size(1),
                       ssm.size(2),
                       ssm.size(3),
                       layer.groups,
                       layer.conv_weight.size(2),
                       static_cast<T>(layer.least_step),
                       static_cast<T>(layer.largest_step),
                       static_cast<T>(layer.norm_eps)};
  const Weights<T> weights{data(layer.conv_weight), data(layer.conv_bias), data(layer.dt_bias),
                           data(layer.A_log),       data(layer.D),         data(layer.norm)};
  const int64_t batch = projected.size(0), stride = projected.stride(0);
  Tensor y = at::zeros({batch, 1, sizes.inner()}, projected.options());
  const T* const from = data(projected);
  T* const to = y.mutable_data_ptr<T>();
  T* const convs = static_cast<T*>(conv.data_ptr());
  T* const memories = static_cast<T*>(ssm.data_ptr());
  const bool* const cuts = starts.defined() ? starts.const_data_ptr<bool>() : nullptr;
  const int64_t* const counts = lengths.defined() ? lengths.const_data_ptr<int64_t>() : nullptr;
  parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(static_cast<size_t>(sizes.channels()));
    for (int64_t b = begin; b < end; ++b) {
      if (counts && counts[b] == 0) continue;  // padding: no output that counts, no memory
      const Memories<T> own{convs + b * sizes.channels() * (sizes.taps - 1),
                            memories + b * sizes.inner() * sizes.state};
      const Token<T> token(sizes, weights, from + b * stride, scratch.data());
      vectors::with_widest([&] { token.run(to + b * sizes.inner(), own, cuts && cuts[b]); });
    }
  });
  return y;
}

}  // namespace

Tensor step(const Layer& layer, const Tensor& projected, const Tensor& conv, const Tensor& ssm,
            const Tensor& starts, const Tensor& lengths) {
  const Tensor cuts = starts.defined() ? starts.contiguous() : starts;
  const auto run = ssm.scalar_type() == at::kDouble ? step_rows<double> : step_rows<float>;
  return run(layer, projected, conv, ssm, cuts, lengths);
}

}  // namespace echo::mamba2
