#include "mixers/ska/heads.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/parallel.h>
#include <echo/vectors.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace echo::ska {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using vectors::dot;

// Rows (B, T, H, W) and where they stand in chunks (N, B, H, extra + S, W).
struct Layout {
  int64_t batch, length, heads, width, size, extra;
  int64_t strides[3];  // of the rows; the last dimension is contiguous

  Layout(const Tensor& rows, int64_t size, int64_t extra)
      : batch(rows.size(0)),
        length(rows.size(1)),
        heads(rows.size(2)),
        width(rows.size(3)),
        size(size),
        extra(extra),
        strides{rows.stride(0), rows.stride(1), rows.stride(2)} {}

  std::vector<int64_t> shape() const {
    return {(length + size - 1) / size, batch, heads, extra + size, width};
  }
  int64_t in_rows(int64_t b, int64_t t, int64_t h) const {
    return b * strides[0] + t * strides[1] + h * strides[2];
  }
  int64_t in_chunks(int64_t b, int64_t t, int64_t h) const {
    return (((t / size * batch + b) * heads + h) * (extra + size) + extra + t % size) * width;
  }
};

// The operands of both kernels; weights are (B, T, H), or null.
template <class T>
struct Operands {
  const T* rows;
  const T* weight;
  bool normalise;
  T* chunks;         // written, or gradients that are read
  T* rows_gradient;  // (B, T, H, W)
  T* weight_gradient;
};

template <class T>
T inverse_length(const T* row, int64_t width, bool normalise) {
  return normalise ? 1 / std::sqrt(dot(row, row, width) + static_cast<T>(kEpsilon)) : T(1);
}

template <class T>
void scale(const Operands<T>& operands, const Layout& layout, int64_t token) {
  const int64_t b = token / layout.length, t = token % layout.length;
  for (int64_t h = 0; h < layout.heads; ++h) {
    const T* const row = operands.rows + layout.in_rows(b, t, h);
    const T weight = operands.weight ? operands.weight[token * layout.heads + h] : T(1);
    const T factor = weight * inverse_length(row, layout.width, operands.normalise);
    T* const to = operands.chunks + layout.in_chunks(b, t, h);
    for (int64_t i = 0; i < layout.width; ++i) to[i] = factor * row[i];
  }
}

// With s the inverse length and g the gradient of weight * s * row: weight * (s g - s^3 (g . row)
// row) for the row, s (g . row) for the weight.
template <class T>
void scale_backward(const Operands<T>& operands, const Layout& layout, int64_t token) {
  const int64_t b = token / layout.length, t = token % layout.length;
  for (int64_t h = 0; h < layout.heads; ++h) {
    const int64_t at = token * layout.heads + h;
    const T* const row = operands.rows + layout.in_rows(b, t, h);
    const T* const gradient = operands.chunks + layout.in_chunks(b, t, h);
    const T weight = operands.weight ? operands.weight[at] : T(1);
    const T s = inverse_length(row, layout.width, operands.normalise);
    const T along =
        operands.weight || operands.normalise ? s * dot(gradient, row, layout.width) : T(0);
    if (operands.weight_gradient) operands.weight_gradient[at] = along;
    const T factor = weight * s;
    const T pull = operands.normalise ? factor * s * along : T(0);
    T* const to = operands.rows_gradient + at * layout.width;
    for (int64_t i = 0; i < layout.width; ++i) to[i] = factor * gradient[i] - pull * row[i];
  }
}

enum class Direction { forward, backward };

template <class T>
void run_tokens(const Operands<T>& operands, const Layout& layout, Direction direction,
                int64_t begin, int64_t end) {
  for (int64_t token = begin; token < end; ++token) {
    if (direction == Direction::forward) {
      scale(operands, layout, token);
    } else {
      scale_backward(operands, layout, token);
    }
  }
}

template <class T>
void run(const Tensor& rows, const Tensor& weight, bool normalise, const Layout& layout,
         Tensor chunks, Tensor rows_gradient, Tensor weight_gradient) {
  const auto pointer = [](const Tensor& tensor) {
    return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
  };
  const Operands<T> operands{pointer(rows),   pointer(weight),        normalise,
                             pointer(chunks), pointer(rows_gradient), pointer(weight_gradient)};
  const Direction direction = rows_gradient.defined() ? Direction::backward : Direction::forward;
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (layout.heads * layout.width));
  parallel_for(0, layout.batch * layout.length, grain, [&](int64_t begin, int64_t end) {
    vectors::with_widest([&] { run_tokens(operands, layout, direction, begin, end); });
  });
}

void run(const Tensor& rows, const Tensor& weight, bool normalise, const Layout& layout,
         const Tensor& chunks, const Tensor& rows_gradient, const Tensor& weight_gradient) {
  (rows.scalar_type() == at::kDouble ? run<double> : run<float>)(rows, weight, normalise, layout,
                                                                 chunks, rows_gradient,
                                                                 weight_gradient);
}

Tensor forward(const Tensor& rows, const Tensor& weight, bool normalise, int64_t size,
               const Tensor& previous) {
  const Layout layout(rows, size, previous.defined() ? 1 : 0);
  Tensor chunks = at::empty(layout.shape(), rows.options());
  const int64_t last = chunks.size(0) - 1;
  chunks[last].slice(2, layout.extra + layout.length - last * size).zero_();
  run(rows, weight, normalise, layout, chunks, Tensor(), Tensor());
  if (previous.defined()) {
    chunks.select(3, 0).slice(0, 1).copy_(chunks.select(3, size).slice(0, 0, last));
    chunks.select(3, 0)[0].copy_(previous);
  }
  return chunks;
}

class InChunks : public torch::autograd::Function<InChunks> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& rows,
                        const std::optional<Tensor>& weight, bool normalise, int64_t size,
                        const std::optional<Tensor>& previous) {
    context->save_for_backward({rows, weight.value_or(Tensor())});
    context->saved_data["normalise"] = normalise;
    context->saved_data["size"] = size;
    context->saved_data["previous"] = previous.has_value();
    return ska::forward(rows, weight.value_or(Tensor()), normalise, size,
                        previous.value_or(Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (at::GradMode::is_enabled())
      throw Error("ska has no second derivative: call backward without create_graph");
    const variable_list saved = context->get_saved_variables();
    const Tensor &rows = saved[0], &weight = saved[1];
    const int64_t size = context->saved_data["size"].toInt();
    const bool extra = context->saved_data["previous"].toBool();
    Tensor chunks = gradients[0].contiguous();
    Tensor previous;
    if (extra) {
      // The first row of a chunk is a copy of the last of the chunk before.
      previous = chunks.select(3, 0)[0].clone();
      if (chunks.is_same(gradients[0])) chunks = chunks.clone();
      chunks.select(3, size).slice(0, 0, -1).add_(chunks.select(3, 0).slice(0, 1));
    }
    Tensor rows_gradient = at::empty(rows.sizes(), rows.options());
    Tensor weight_gradient = weight.defined() ? at::empty_like(weight) : Tensor();
    run(rows, weight, context->saved_data["normalise"].toBool(), Layout(rows, size, extra), chunks,
        rows_gradient, weight_gradient);
    return {rows_gradient, weight_gradient, Tensor(), Tensor(), previous};
  }
};

// A few numbers without a graph: one pass, where three operators would take longer than a head.
template <class T>
Tensor root_of_few(const Tensor& logits) {
  Tensor roots = at::empty(logits.sizes(), logits.options());
  T* to = roots.mutable_data_ptr<T>();
  const auto from = logits.accessor<T, 3>();
  for (int64_t b = 0; b < from.size(0); ++b) {
    for (int64_t t = 0; t < from.size(1); ++t) {
      for (int64_t h = 0; h < from.size(2); ++h) {
        const T x = from[b][t][h];
        const T small = std::exp(-std::abs(x) / 2);  // sqrt of the smaller over the larger share
        *to++ = (x < 0 ? small : T(1)) / std::sqrt(1 + small * small);
      }
    }
  }
  return roots;
}

}  // namespace

Tensor root_of_sigmoid(const Tensor& logits) {
  constexpr int64_t kFew = 512;
  if (logits.is_cpu() && logits.numel() <= kFew && !at::GradMode::is_enabled())
    return logits.scalar_type() == at::kDouble ? root_of_few<double>(logits)
                                               : root_of_few<float>(logits);
  return at::log_sigmoid(logits).mul_(0.5).exp_();
}

Tensor in_time(const Heads& heads) {
  const Tensor rows = heads.normalise ? l2_normalize(heads.rows, kEpsilon) : heads.rows;
  return heads.weight.defined() ? rows * heads.weight.unsqueeze(-1) : rows;
}

Tensor split_time(const Tensor& tensor, int64_t size) {
  const int64_t padding = (size - tensor.size(1) % size) % size;
  Tensor padded = tensor;
  if (padding > 0) {
    std::vector<int64_t> widths(static_cast<size_t>(2 * (tensor.dim() - 2)), 0);
    widths.insert(widths.end(), {0, padding});
    padded = at::constant_pad_nd(tensor, widths);
  }
  return padded.unflatten(1, {-1, size}).transpose(0, 1);
}

Tensor join_time(const Tensor& chunks, int64_t length) {
  return chunks.permute({1, 0, 3, 2, 4}).flatten(1, 2).slice(1, 0, length);
}

Tensor in_chunks_reference(const Heads& heads, int64_t size, const Tensor& previous) {
  const Tensor chunks = split_time(in_time(heads), size).transpose(2, 3);
  if (!previous.defined()) return chunks.contiguous();
  const Tensor last = chunks.select(3, size - 1).slice(0, 0, -1);
  return at::cat({at::cat({previous.unsqueeze(0), last}).unsqueeze(3), chunks}, 3);
}

Tensor in_chunks(const Heads& heads, int64_t size, const Tensor& previous) {
  if (!heads.rows.is_cpu()) return in_chunks_reference(heads, size, previous);
  const Tensor rows = heads.rows.stride(-1) == 1 ? heads.rows : heads.rows.contiguous();
  const auto given = [](const Tensor& tensor) {
    return tensor.defined() ? std::optional<Tensor>(tensor.contiguous()) : std::nullopt;
  };
  return InChunks::apply(rows, given(heads.weight), heads.normalise, size, given(previous));
}

}  // namespace echo::ska
