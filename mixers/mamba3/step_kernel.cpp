#include "mixers/mamba3/step_kernel.h"

#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace echo::mamba3 {
namespace {

using at::Tensor;
using vectors::dot;

template <class T>
struct Sizes {
  int64_t heads, width, state, groups, ranks, angles;  // H, P, N, G, R, A
  bool softplus_decay;
  T decay_floor, eps;
  Pairing pairing;

  int64_t inner() const { return heads * width; }
  int64_t keys() const { return ranks * groups * state; }
  // Of a row: normed keys and queries, the turned ones of a head, outputs of a head, sines and
  // cosines of a head, rates of the angles.
  int64_t scratch() const { return 2 * keys() + 2 * ranks * state + ranks * width + 3 * angles; }
};

template <class T>
struct Weights {
  const T *dt_bias, *D, *B_norm, *C_norm, *B_bias, *C_bias;
  const T *mimo_x, *mimo_z, *mimo_o, *norm;  // may be null
};

template <class T>
struct Memories {
  T *ssm, *k, *x, *angle;
};

// The token of one row.
template <class T>
class Token {
 public:
  Token(const Sizes<T>& sizes, const Weights<T>& weights, const T* projected, T* scratch)
      : s_(sizes),
        w_(weights),
        z_(projected),
        x_(z_ + s_.inner()),
        dt_(x_ + s_.inner() + 2 * s_.keys()),
        decay_(dt_ + s_.heads),
        trap_(decay_ + s_.heads),
        normed_keys_(scratch),
        normed_queries_(normed_keys_ + s_.keys()),
        keys_(normed_queries_ + s_.keys()),
        queries_(keys_ + s_.ranks * s_.state),
        outputs_(queries_ + s_.ranks * s_.state),
        sines_(outputs_ + s_.ranks * s_.width),
        cosines_(sines_ + s_.angles),
        rates_(cosines_ + s_.angles) {
    const T* const B = x_ + s_.inner();
    normalise(normed_keys_, B, w_.B_norm);
    normalise(normed_queries_, B + s_.keys(), w_.C_norm);
    const T* const angle = trap_ + s_.heads;
    for (int64_t i = 0; i < s_.angles; ++i) rates_[i] = static_cast<T>(M_PI) * std::tanh(angle[i]);
  }

  void run(T* y, const Memories<T>& memory, bool start) const {
    for (int64_t h = 0; h < s_.heads; ++h) {
      const T dt = vectors::softplus(dt_[h] + w_.dt_bias[h]);
      const T decay = std::exp(-dt * rate(decay_[h]));
      const T now = dt / (1 + std::exp(-trap_[h]));
      const T late = start ? T(0) : (dt - now) * decay;
      turn(memory.angle + h * s_.angles, dt, start);
      turned(keys_, normed_keys_, w_.B_bias, h);
      turned(queries_, normed_queries_, w_.C_bias, h);
      if (start) std::fill_n(memory.ssm + h * s_.width * s_.state, s_.width * s_.state, T(0));
      scan(memory, h, decay, now, late);
      for (int64_t r = 0; r < s_.ranks; ++r)
        std::copy_n(keys_ + r * s_.state, s_.state, memory.k + (r * s_.heads + h) * s_.state);
      gate(y + h * s_.width, h);
    }
    std::copy_n(x_, s_.inner(), memory.x);
  }

 private:
  void normalise(T* to, const T* from, const T* weight) const {
    for (int64_t row = 0; row < s_.ranks * s_.groups; ++row) {
      const T* const in = from + row * s_.state;
      const T scale = 1 / std::sqrt(dot(in, in, s_.state) / static_cast<T>(s_.state) + s_.eps);
      for (int64_t i = 0; i < s_.state; ++i) to[row * s_.state + i] = in[i] * scale * weight[i];
    }
  }

  T rate(T raw) const {
    const T f = s_.softplus_decay ? vectors::softplus(raw) : (raw >= 0 ? 1 + raw : 1 / (1 - raw));
    return std::max(f, s_.decay_floor);
  }

  // Angles of a head after the token, and their sines and cosines.
  void turn(T* angles, T dt, bool start) const {
    constexpr double kTurn = 2 * M_PI;
    for (int64_t i = 0; i < s_.angles; ++i) {
      const double sum =
          (start ? 0.0 : static_cast<double>(angles[i])) + static_cast<double>(rates_[i] * dt);
      angles[i] = static_cast<T>(sum - kTurn * std::floor(sum / kTurn));
    }
    for (int64_t i = 0; i < s_.angles; ++i) {
      const auto [sine, cosine] = vectors::sine_cosine(angles[i]);
      sines_[i] = sine;
      cosines_[i] = cosine;
    }
  }

  // (R, N) of a head, with bias.
  void turned(T* to, const T* normed, const T* bias, int64_t h) const {
    const int64_t N = s_.state, group = h / (s_.heads / s_.groups);
    for (int64_t r = 0; r < s_.ranks; ++r) {
      T* const row = to + r * N;
      const T* const own = normed + (r * s_.groups + group) * N;
      for (int64_t i = 0; i < N; ++i) row[i] = own[i] + bias[(h * s_.ranks + r) * N + i];
      const bool neighbours = s_.pairing == Pairing::neighbours;
      for (int64_t i = 0; i < s_.angles; ++i) {
        T& first = row[neighbours ? 2 * i : i];
        T& second = row[neighbours ? 2 * i + 1 : i + N / 2];
        const T a = first, b = second;
        first = a * cosines_[i] - b * sines_[i];
        second = a * sines_[i] + b * cosines_[i];
      }
    }
  }

  T mapped(const T* map, const T* channels, int64_t h, int64_t r, int64_t p) const {
    const T value = channels[h * s_.width + p];
    return map ? value * map[(h * s_.ranks + r) * s_.width + p] : value;
  }

  // The memory of a head takes the token and the one before in; outputs (R, P).
  void scan(const Memories<T>& memory, int64_t h, T decay, T now, T late) const {
    const int64_t N = s_.state;
    for (int64_t p = 0; p < s_.width; ++p) {
      T* const row = memory.ssm + (h * s_.width + p) * N;
      const T* const before = memory.k + h * N;
      const T old = late * mapped(w_.mimo_x, memory.x, h, 0, p);
      const T fresh = now * mapped(w_.mimo_x, x_, h, 0, p);
      const T* const keys = keys_;
      outputs_[p] = vectors::assign_dot(row, queries_, N, [=](int64_t i) {
        return decay * row[i] + old * before[i] + fresh * keys[i];
      });
      for (int64_t r = 1; r < s_.ranks; ++r) {
        vectors::add(row, before + r * s_.heads * N, late * mapped(w_.mimo_x, memory.x, h, r, p),
                     N);
        vectors::add(row, keys_ + r * N, now * mapped(w_.mimo_x, x_, h, r, p), N);
      }
      if (s_.ranks == 1) continue;
      for (int64_t r = 0; r < s_.ranks; ++r)
        outputs_[r * s_.width + p] = dot(row, queries_ + r * N, N);
    }
  }

  // y (P) of a head: skip, norm, gate, and the sum over ranks.
  void gate(T* y, int64_t h) const {
    const int64_t P = s_.width;
    for (int64_t r = 0; r < s_.ranks; ++r) {
      T* const row = outputs_ + r * P;
      for (int64_t p = 0; p < P; ++p) row[p] += w_.D[h] * mapped(w_.mimo_x, x_, h, r, p);
      if (w_.norm) {
        const T scale = 1 / std::sqrt(dot(row, row, P) / static_cast<T>(P) + s_.eps);
        for (int64_t p = 0; p < P; ++p) row[p] *= scale * w_.norm[h * P + p];
      }
      for (int64_t p = 0; p < P; ++p) row[p] *= vectors::silu(mapped(w_.mimo_z, z_, h, r, p));
      const T* const map = w_.mimo_o ? w_.mimo_o + (h * s_.ranks + r) * P : nullptr;
      for (int64_t p = 0; p < P; ++p) {
        const T share = map ? map[p] * row[p] : row[p];
        y[p] = r == 0 ? share : y[p] + share;
      }
    }
  }

  const Sizes<T>& s_;
  const Weights<T>& w_;
  const T *z_, *x_, *dt_, *decay_, *trap_;
  T *normed_keys_, *normed_queries_, *keys_, *queries_, *outputs_, *sines_, *cosines_, *rates_;
};

template <class T>
Tensor step_rows(const Layer& layer, const Tensor& projected, const StepMemory& memory,
                 const Tensor& starts, const Tensor& lengths) {
  const auto data = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
  };
  const auto writable = [](const Tensor& tensor) { return static_cast<T*>(tensor.data_ptr()); };
  const Sizes<T> sizes{memory.ssm.size(1),
                       memory.ssm.size(2),
                       memory.ssm.size(3),
                       layer.groups,
                       memory.k.size(1),
                       memory.angle.size(2),
                       layer.softplus_decay,
                       static_cast<T>(layer.decay_floor),
                       static_cast<T>(layer.norm_eps),
                       layer.pairing};
  const Weights<T> weights{data(layer.dt_bias), data(layer.D),      data(layer.B_norm),
                           data(layer.C_norm),  data(layer.B_bias), data(layer.C_bias),
                           data(layer.mimo_x),  data(layer.mimo_z), data(layer.mimo_o),
                           data(layer.norm)};
  const Memories<T> all{writable(memory.ssm), writable(memory.k), writable(memory.x),
                        writable(memory.angle)};
  const int64_t batch = projected.size(0), stride = projected.stride(0);
  Tensor y = at::zeros({batch, 1, sizes.inner()}, projected.options());
  const T* const from = data(projected);
  T* const to = y.mutable_data_ptr<T>();
  const bool* const cuts = starts.defined() ? starts.const_data_ptr<bool>() : nullptr;
  const int64_t* const counts = lengths.defined() ? lengths.const_data_ptr<int64_t>() : nullptr;
  parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(static_cast<size_t>(sizes.scratch()));
    for (int64_t b = begin; b < end; ++b) {
      if (counts && counts[b] == 0) continue;  // padding: no output that counts, no memory
      const Memories<T> own{all.ssm + b * sizes.inner() * sizes.state,
                            all.k + b * sizes.ranks * sizes.heads * sizes.state,
                            all.x + b * sizes.inner(), all.angle + b * sizes.heads * sizes.angles};
      vectors::with_widest([&] {
        Token<T>(sizes, weights, from + b * stride, scratch.data())
            .run(to + b * sizes.inner(), own, cuts && cuts[b]);
      });
    }
  });
  return y;
}

}  // namespace

Tensor step(const Layer& layer, const Tensor& projected, const StepMemory& memory,
            const Tensor& starts, const Tensor& lengths) {
  const Tensor cuts = starts.defined() ? starts.contiguous() : starts;
  const auto run = memory.ssm.scalar_type() == at::kDouble ? step_rows<double> : step_rows<float>;
  return run(layer, projected, memory, cuts, lengths);
}

}  // namespace echo::mamba3
