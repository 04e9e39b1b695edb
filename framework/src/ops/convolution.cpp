#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/parallel.h>
#include <echo/stretch.h>

#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

using ops::Rows;
using ops::Wide;

// Inputs of the kernels in their layout: channels last everywhere, so that inner loops run over
// channels.
struct Taps {
  at::Tensor weight;  // (W, C), wide
  at::Tensor bias;    // (C), wide, or undefined
  at::Tensor memory;  // (B, W - 1, C), dtype of x, or undefined
  at::Tensor starts;  // (B, T) bool, or undefined
};

Taps laid_out(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
              const at::Tensor& memory, const at::Tensor& starts) {
  const at::ScalarType wide = ops::wide(x.scalar_type());
  return {weight.squeeze(1).t().to(wide).contiguous(),
          bias.defined() ? bias.to(wide).contiguous() : bias,
          memory.defined() ? memory.transpose(1, 2).to(x.scalar_type()).contiguous() : memory,
          starts.defined() ? starts.contiguous() : starts};
}

// Where token t of row b finds the tokens that it reads; t may lie before the stretch.
template <class T>
class Inputs {
 public:
  Inputs(const Rows& x, const Taps& taps)
      : x_(x),
        values_(x.tensor().const_data_ptr<T>()),
        memory_(taps.memory.defined() ? taps.memory.const_data_ptr<T>() : nullptr),
        starts_(taps.starts.defined() ? taps.starts.const_data_ptr<bool>() : nullptr),
        length_(x.tensor().size(1)),
        channels_(x.width()),
        width_(taps.weight.size(0)) {}

  // Channels of that token; null: zeros.
  const T* at(int64_t b, int64_t t) const {
    if (t >= 0) return values_ + x_.offset(b * length_ + t);
    return memory_ ? memory_ + (b * (width_ - 1) + width_ - 1 + t) * channels_ : nullptr;
  }

  // How many tokens before itself token t reads.
  int64_t reach(int64_t b, int64_t t) const {
    if (!starts_) return width_ - 1;
    int64_t lag = 0;
    while (lag < width_ - 1 && !(t - lag >= 0 && starts_[b * length_ + t - lag])) ++lag;
    return lag;
  }

  int64_t batch() const { return x_.tensor().size(0); }
  int64_t length() const { return length_; }
  int64_t channels() const { return channels_; }
  int64_t width() const { return width_; }
  bool begins(int64_t b, int64_t t) const { return starts_ && starts_[b * length_ + t]; }

 private:
  const Rows& x_;
  const T* values_;
  const T* memory_;
  const bool* starts_;
  int64_t length_;
  int64_t channels_;
  int64_t width_;
};

int64_t token_grain(int64_t channels, int64_t width) {
  return std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, channels * width));
}

// sum += factor * value over channels
template <class W, class T>
void add_product(W* sum, const W* factor, const T* value, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) sum[c] += factor[c] * static_cast<W>(value[c]);
}

template <class T>
void convolve_tokens(const Inputs<T>& in, const Taps& taps, at::Tensor& y) {
  using W = Wide<T>;
  const W* const weight = taps.weight.const_data_ptr<W>();
  const W* const bias = taps.bias.defined() ? taps.bias.const_data_ptr<W>() : nullptr;
  T* const out = y.mutable_data_ptr<T>();
  const int64_t channels = in.channels();
  const int64_t last = in.width() - 1;
  parallel_for(0, in.batch() * in.length(), token_grain(channels, in.width()),
               [&](int64_t begin, int64_t end) {
                 std::vector<W> sum(static_cast<size_t>(channels));
                 for (int64_t row = begin; row < end; ++row) {
                   const int64_t b = row / in.length();
                   const int64_t t = row % in.length();
                   if (bias) {
                     std::copy(bias, bias + channels, sum.begin());
                   } else {
                     std::fill(sum.begin(), sum.end(), W(0));
                   }
                   for (int64_t lag = in.reach(b, t); lag >= 0; --lag) {
                     const T* const value = in.at(b, t - lag);
                     if (value)
                       add_product(sum.data(), weight + (last - lag) * channels, value, channels);
                   }
                   T* const to = out + row * channels;
                   for (int64_t c = 0; c < channels; ++c)
                     to[c] = static_cast<T>(sum[static_cast<size_t>(c)]);
                 }
               });
}

// Gradient of one input token, from the outputs that read it.
template <class T>
void gather_gradient(const Inputs<T>& in, const Rows& dy, const Wide<T>* weight, int64_t b,
                     int64_t t, Wide<T>* sum) {
  const T* const gradient = dy.tensor().const_data_ptr<T>();
  const int64_t last = in.width() - 1;
  for (int64_t lag = 0; lag <= last && t + lag < in.length(); ++lag) {
    if (t + lag < 0) continue;
    if (lag > 0 && in.begins(b, t + lag)) return;
    add_product(sum, weight + (last - lag) * in.channels(),
                gradient + dy.offset(b * in.length() + t + lag), in.channels());
  }
}

template <class T>
void input_gradients(const Inputs<T>& in, const Rows& dy, const Taps& taps, at::Tensor& dx,
                     at::Tensor& dmemory) {
  using W = Wide<T>;
  const W* const weight = taps.weight.const_data_ptr<W>();
  T* const to = dx.mutable_data_ptr<T>();
  T* const to_memory = dmemory.defined() ? dmemory.mutable_data_ptr<T>() : nullptr;
  const int64_t channels = in.channels();
  const int64_t before = to_memory ? in.width() - 1 : 0;
  const int64_t span = before + in.length();
  parallel_for(0, in.batch() * span, token_grain(channels, in.width()),
               [&](int64_t begin, int64_t end) {
                 std::vector<W> sum(static_cast<size_t>(channels));
                 for (int64_t row = begin; row < end; ++row) {
                   const int64_t b = row / span;
                   const int64_t t = row % span - before;
                   std::fill(sum.begin(), sum.end(), W(0));
                   gather_gradient(in, dy, weight, b, t, sum.data());
                   T* const out = t >= 0 ? to + (b * in.length() + t) * channels
                                         : to_memory + (b * before + before + t) * channels;
                   for (int64_t c = 0; c < channels; ++c)
                     out[c] = static_cast<T>(sum[static_cast<size_t>(c)]);
                 }
               });
}

// parts (P, W + 1, C): sums of dy x_{t-lag}, and in the last row of dy.
template <class T>
void weight_gradients(const Inputs<T>& in, const Rows& dy, at::Tensor& parts) {
  using W = Wide<T>;
  const T* const gradient = dy.tensor().const_data_ptr<T>();
  W* const sums = parts.mutable_data_ptr<W>();
  const int64_t channels = in.channels();
  const int64_t width = in.width();
  const int64_t rows = in.batch() * in.length();
  const int64_t count = parts.size(0);
  const int64_t grain =
      std::max<int64_t>(1, token_grain(channels, width) * count / std::max<int64_t>(1, rows));
  parallel_for(0, count, grain, [&](int64_t first, int64_t end) {
    for (int64_t part = first; part < end; ++part) {
      W* const sum = sums + part * (width + 1) * channels;
      for (int64_t row = part * rows / count; row < (part + 1) * rows / count; ++row) {
        const int64_t b = row / in.length();
        const int64_t t = row % in.length();
        const T* const g = gradient + dy.offset(row);
        for (int64_t lag = in.reach(b, t); lag >= 0; --lag) {
          const T* const value = in.at(b, t - lag);
          W* const tap = sum + (width - 1 - lag) * channels;
          if (!value) continue;
          for (int64_t c = 0; c < channels; ++c)
            tap[c] += static_cast<W>(g[c]) * static_cast<W>(value[c]);
        }
        W* const bias = sum + width * channels;
        for (int64_t c = 0; c < channels; ++c) bias[c] += static_cast<W>(g[c]);
      }
    }
  });
}

at::Tensor convolved(const at::Tensor& x, const Taps& taps) {
  const Rows rows(x);
  at::Tensor y = at::empty(x.sizes(), x.options());
  ops::with_type(x, [&](auto type) {
    using T = decltype(type);
    convolve_tokens(Inputs<T>(rows, taps), taps, y);
  });
  return y;
}

class ConvolutionFunction : public torch::autograd::Function<ConvolutionFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            const std::optional<at::Tensor>& memory,
                            const std::optional<at::Tensor>& starts) {
    const auto defined = [](const std::optional<at::Tensor>& x) {
      return x.value_or(at::Tensor());
    };
    context->save_for_backward({x, weight, defined(bias), defined(memory), defined(starts)});
    return convolved(x, laid_out(x, weight, defined(bias), defined(memory), defined(starts)));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    ops::refuse_second_derivative("a causal convolution");
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor& bias = saved[2];
    const at::Tensor& memory = saved[3];
    const Taps taps = laid_out(x, weight, bias, memory, saved[4]);
    const Rows rows(x);
    const Rows dy(gradients[0]);
    at::Tensor dx = at::empty(x.sizes(), x.options());
    at::Tensor dmemory = memory.defined() ? at::empty_like(taps.memory) : at::Tensor();
    at::Tensor parts = at::zeros(
        {ops::reduction_parts(rows.count()), weight.size(2) + 1, x.size(2)}, taps.weight.options());
    ops::with_type(x, [&](auto type) {
      using T = decltype(type);
      const Inputs<T> in(rows, taps);
      input_gradients(in, dy, taps, dx, dmemory);
      weight_gradients(in, dy, parts);
    });
    const at::Tensor sums = parts.sum(0).to(weight.scalar_type());  // (W + 1, C)
    const int64_t width = weight.size(2);
    if (memory.defined()) dmemory = dmemory.transpose(1, 2).to(memory.scalar_type());
    return {dx, sums.narrow(0, 0, width).t().unsqueeze(1),
            bias.defined() ? sums.select(0, width) : at::Tensor(), dmemory, at::Tensor()};
  }
};

// (B, W - 1) int64: index in the stretch of every token of the memory after it; below 0: in the
// memory before it. `kept` (B, W - 1) bool: since the last start.
struct Tail {
  at::Tensor index;
  at::Tensor kept;
};

Tail tail_of(const at::Tensor& x, int64_t width, const Span& span) {
  const at::TensorOptions whole = x.options().dtype(at::kLong);
  const at::Tensor lengths =
      span.lengths.defined() ? span.lengths : at::full({x.size(0)}, x.size(1), whole);
  Tail tail;
  tail.index = lengths.unsqueeze(1) + at::arange(1 - width, 0, whole);
  if (span.starts.defined()) {
    const at::Tensor t = at::arange(x.size(1), whole);
    const at::Tensor here = span.starts.logical_and(t < lengths.unsqueeze(1));
    const at::Tensor last_start = at::where(here, t, at::full_like(t, -width)).amax(1, true);
    tail.kept = tail.index >= last_start;
  }
  return tail;
}

// The last W - 1 inputs after the stretch, (B, C, W - 1).
at::Tensor next_memory(const at::Tensor& x, const at::Tensor& memory, const Span& span) {
  const int64_t before = memory.size(2);
  const int64_t length = x.size(1);
  if (before == 0) return memory;
  if (!span.starts.defined() && !span.lengths.defined()) {
    const int64_t taken = std::min(before, length);
    const at::Tensor late =
        x.narrow(1, length - taken, taken).transpose(1, 2).to(memory.scalar_type());
    return taken == before ? late.clone(at::MemoryFormat::Contiguous)
                           : at::cat({memory.narrow(2, taken, before - taken), late}, 2);
  }
  const Tail tail = tail_of(x, before + 1, span);
  const at::Tensor from_x =
      tail.index.clamp(0, length - 1).unsqueeze(2).expand({-1, -1, x.size(2)});
  const at::Tensor late = x.gather(1, from_x).transpose(1, 2).to(memory.scalar_type());
  const at::Tensor from_memory =
      (tail.index + before).clamp_max(before - 1).unsqueeze(1).expand_as(memory);
  at::Tensor next = at::where((tail.index >= 0).unsqueeze(1), late, memory.gather(2, from_memory));
  if (tail.kept.defined()) next = next.masked_fill(tail.kept.logical_not().unsqueeze(1), 0);
  return next;
}

// The same through the reference, on any device.
at::Tensor composed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& memory, const at::Tensor& starts) {
  const int64_t before = weight.size(2) - 1;
  const at::Tensor past = memory.defined() ? memory.transpose(1, 2).to(x.scalar_type())
                                           : at::zeros({x.size(0), before, x.size(2)}, x.options());
  at::Tensor reach;
  if (starts.defined()) {
    const at::Tensor far = at::full({x.size(0)}, before, x.options().dtype(at::kLong));
    reach = token_positions(far, starts, x.size(1));
  }
  return reference::convolve(at::cat({past, x}, 1), weight, bias, reach);
}

}  // namespace

Convolved causal_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& memory, const Span& span) {
  ECHO_CHECK(x.dim() == 3 && weight.dim() == 3 && weight.size(0) == x.size(2) &&
                 weight.size(1) == 1 && (!memory.defined() || memory.size(2) == weight.size(2) - 1),
             "a convolution of " << x.sizes() << " by " << weight.sizes());
  if (span.stretch && !memory.defined() && weight.size(2) > 1) {
    Arrival before = span.stretch->halo(x, weight.size(2) - 1, "inputs of a convolution");
    return {causal_convolution(x, weight, bias, before.finish().transpose(1, 2), span).y, memory};
  }
  at::Tensor y;
  if (!ops::has_kernel(x)) {
    y = composed(x, weight, bias, memory, span.starts);
  } else if (ops::needs_graph(x, weight, bias, memory)) {
    y = ConvolutionFunction::apply(x, weight, ops::given(bias), ops::given(memory),
                                   ops::given(span.starts));
  } else {
    y = convolved(x, laid_out(x, weight, bias, memory, span.starts));
  }
  const bool goes_on = memory.defined() && !span.stretch;
  return {y, goes_on ? next_memory(x, memory, span) : at::Tensor()};
}

}  // namespace echo
