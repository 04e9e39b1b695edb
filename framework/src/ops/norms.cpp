#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/parallel.h>

#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

using ops::Rows;
using ops::Wide;

// y = weight * s * x with s = 1 / sqrt(factor * sum(x^2) + eps) for every row: factor 1/n is the
// rms norm, 1 the l2 norm.
struct Norm {
  double factor;
  double eps;
};

constexpr int64_t kGrain = 1 << 14;  // numbers that are worth a thread

int64_t row_grain(int64_t width) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
}

at::Tensor wide_weight(const at::Tensor& weight, const at::Tensor& x) {
  return weight.defined() ? weight.to(ops::wide(x.scalar_type())).contiguous() : weight;
}

template <class T>
void normalize_rows(const Rows& x, const at::Tensor& weight, const Norm& norm, at::Tensor& y,
                    at::Tensor& scales) {
  using W = Wide<T>;
  const T* const from = x.tensor().const_data_ptr<T>();
  const W* const w = weight.defined() ? weight.const_data_ptr<W>() : nullptr;
  T* const to = y.mutable_data_ptr<T>();
  W* const s = scales.mutable_data_ptr<W>();
  const int64_t n = x.width();
  parallel_for(0, x.count(), row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const in = from + x.offset(row);
      T* const out = to + row * n;
      const W sum = ops::lane_sum<W>(n, [&](int64_t i) {
        const W value = static_cast<W>(in[i]);
        return value * value;
      });
      const W scale =
          W(1) / std::sqrt(static_cast<W>(norm.factor) * sum + static_cast<W>(norm.eps));
      s[row] = scale;
      if (w) {
        for (int64_t i = 0; i < n; ++i)
          out[i] = static_cast<T>(static_cast<W>(in[i]) * scale * w[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(static_cast<W>(in[i]) * scale);
      }
    }
  });
}

// With g = weight * dy: dx = s g - s^3 factor (g . x) x, and dweight = sum over rows of s x dy.
template <class T>
void normalize_rows_backward(const Rows& x, const Rows& dy, const at::Tensor& weight,
                             const Norm& norm, const at::Tensor& scales, at::Tensor& dx,
                             at::Tensor& dweight_parts) {
  using W = Wide<T>;
  const T* const from = x.tensor().const_data_ptr<T>();
  const T* const gradient = dy.tensor().const_data_ptr<T>();
  const W* const w = weight.defined() ? weight.const_data_ptr<W>() : nullptr;
  const W* const s = scales.const_data_ptr<W>();
  T* const to = dx.mutable_data_ptr<T>();
  W* const parts = w ? dweight_parts.mutable_data_ptr<W>() : nullptr;
  const int64_t n = x.width();
  const int64_t rows = x.count();
  const int64_t count = ops::reduction_parts(rows);
  parallel_for(0, count, std::max<int64_t>(1, row_grain(n) * count / std::max<int64_t>(1, rows)),
               [&](int64_t first, int64_t last) {
                 for (int64_t part = first; part < last; ++part) {
                   W* const dw = w ? parts + part * n : nullptr;
                   for (int64_t row = part * rows / count; row < (part + 1) * rows / count; ++row) {
                     const T* const in = from + x.offset(row);
                     const T* const g = gradient + dy.offset(row);
                     T* const out = to + row * n;
                     const W scale = s[row];
                     const W dot = ops::lane_sum<W>(n, [&](int64_t i) {
                       return static_cast<W>(in[i]) * static_cast<W>(g[i]) * (w ? w[i] : W(1));
                     });
                     const W pull = scale * scale * scale * static_cast<W>(norm.factor) * dot;
                     for (int64_t i = 0; i < n; ++i) {
                       out[i] = static_cast<T>(scale * static_cast<W>(g[i]) * (w ? w[i] : W(1)) -
                                               pull * static_cast<W>(in[i]));
                     }
                     if (!dw) continue;
                     for (int64_t i = 0; i < n; ++i) {
                       dw[i] += scale * static_cast<W>(in[i]) * static_cast<W>(g[i]);
                     }
                   }
                 }
               });
}

std::pair<at::Tensor, at::Tensor> normalized(const at::Tensor& x, const at::Tensor& weight,
                                             const Norm& norm) {
  const Rows rows(x);
  at::Tensor y = at::empty(x.sizes(), x.options());
  at::Tensor scales = at::empty({rows.count()}, x.options().dtype(ops::wide(x.scalar_type())));
  ops::with_type(x, [&](auto type) {
    normalize_rows<decltype(type)>(rows, wide_weight(weight, x), norm, y, scales);
  });
  return {y, scales};
}

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& given, double factor, double eps) {
    const at::Tensor weight = given.value_or(at::Tensor());
    auto [y, scales] = normalized(x, weight, {factor, eps});
    context->save_for_backward({x, weight, scales});
    context->saved_data["factor"] = factor;
    context->saved_data["eps"] = eps;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    ops::refuse_second_derivative("a norm");
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const Norm norm{context->saved_data["factor"].toDouble(),
                    context->saved_data["eps"].toDouble()};
    const Rows rows(x);
    at::Tensor dx = at::empty(x.sizes(), x.options());
    at::Tensor parts;
    if (weight.defined()) {
      parts = at::zeros({ops::reduction_parts(rows.count()), weight.numel()}, saved[2].options());
    }
    ops::with_type(x, [&](auto type) {
      normalize_rows_backward<decltype(type)>(rows, Rows(gradients[0]), wide_weight(weight, x),
                                              norm, saved[2], dx, parts);
    });
    at::Tensor dweight;
    if (weight.defined()) dweight = parts.sum(0).to(weight.scalar_type());
    return {dx, dweight, {}, {}};
  }
};

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const Norm& norm) {
  if (ops::needs_graph(x, weight)) {
    const auto given = weight.defined() ? std::optional<at::Tensor>(weight) : std::nullopt;
    return NormFunction::apply(x, given, norm.factor, norm.eps);
  }
  return normalized(x, weight, norm).first;
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  ECHO_CHECK(!weight.defined() || (weight.dim() == 1 && weight.size(0) == x.size(-1)),
             "a norm of " << x.sizes() << " with a weight " << weight.sizes());
  if (!ops::has_kernel(x)) return reference::rms_norm(x, weight, eps);
  return norm(x, weight, {1.0 / static_cast<double>(x.size(-1)), eps});
}

at::Tensor l2_normalize(const at::Tensor& x, double eps) {
  if (!ops::has_kernel(x)) return reference::l2_normalize(x, eps);
  return norm(x, at::Tensor(), Norm{1, eps});
}

}  // namespace echo
