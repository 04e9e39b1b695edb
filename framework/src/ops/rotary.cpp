#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/parallel.h>

#include <cmath>

#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

using ops::Rows;
using ops::Wide;

// sign 1 turns, -1 turns back (which is also the derivative).
template <class T>
void turn_rows(const Rows& x, int64_t heads, const Rotation& rotation, int sign, at::Tensor& y) {
  using W = Wide<T>;
  const T* const from = x.tensor().const_data_ptr<T>();
  const W* const cosine = rotation.cosine.const_data_ptr<W>();
  const W* const sine = rotation.sine.const_data_ptr<W>();
  T* const to = y.mutable_data_ptr<T>();
  const int64_t n = x.width();
  const int64_t half = rotation.cosine.size(2);
  const int64_t angles = rotation.cosine.size(0) * rotation.cosine.size(1);  // B T, or T for all
  const W turn = static_cast<W>(sign);
  parallel_for(0, x.count(), std::max<int64_t>(1, (1 << 14) / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const in = from + x.offset(row);
      T* const out = to + row * n;
      const W* const c = cosine + row / heads % angles * half;
      const W* const s = sine + row / heads % angles * half;
      for (int64_t i = 0; i < half; ++i) {
        const W first = static_cast<W>(in[i]);
        const W second = static_cast<W>(in[i + half]);
        out[i] = static_cast<T>(first * c[i] - turn * second * s[i]);
        out[i + half] = static_cast<T>(second * c[i] + turn * first * s[i]);
      }
      std::copy(in + 2 * half, in + n, out + 2 * half);
    }
  });
}

at::Tensor turned(const at::Tensor& heads, const Rotation& rotation, int sign) {
  at::Tensor y = at::empty(heads.sizes(), heads.options());
  ops::with_type(heads, [&](auto type) {
    turn_rows<decltype(type)>(Rows(heads), heads.size(2), rotation, sign, y);
  });
  return y;
}

class TurnFunction : public torch::autograd::Function<TurnFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& heads,
                            const at::Tensor& cosine, const at::Tensor& sine) {
    context->save_for_backward({cosine, sine});
    return turned(heads, {cosine, sine}, 1);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    ops::refuse_second_derivative("a rotation");
    const auto saved = context->get_saved_variables();
    return {turned(gradients[0], {saved[0], saved[1]}, -1), {}, {}};
  }
};

}  // namespace

at::Tensor rotary_frequencies(double theta, int64_t width, at::Device device) {
  ECHO_CHECK(width % 2 == 0, "rotary positions turn pairs, not " << width << " dimensions");
  at::Tensor frequencies = at::empty({width / 2}, at::TensorOptions().dtype(at::kDouble));
  double* const values = frequencies.mutable_data_ptr<double>();
  for (int64_t i = 0; i < width / 2; ++i)
    values[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
  return frequencies.to(device);
}

// For a few tokens: five operators take longer than their numbers.
template <class W>
Rotation few_angles(const at::Tensor& positions, const at::Tensor& frequencies,
                    at::ScalarType kept) {
  const int64_t half = frequencies.size(0);
  const std::vector<int64_t> shape = {positions.size(0), positions.size(1), half};
  Rotation turn{at::empty(shape, positions.options().dtype(kept)),
                at::empty(shape, positions.options().dtype(kept))};
  const at::Tensor contiguous = positions.contiguous();
  const int64_t* const position = contiguous.const_data_ptr<int64_t>();
  const double* const frequency = frequencies.const_data_ptr<double>();
  W* const cosine = turn.cosine.mutable_data_ptr<W>();
  W* const sine = turn.sine.mutable_data_ptr<W>();
  for (int64_t i = 0; i < contiguous.numel() * half; ++i) {
    const double angle = static_cast<double>(position[i / half]) * frequency[i % half];
    cosine[i] = static_cast<W>(std::cos(angle));
    sine[i] = static_cast<W>(std::sin(angle));
  }
  return turn;
}

Rotation rotation(const at::Tensor& positions, const at::Tensor& frequencies,
                  at::ScalarType dtype) {
  constexpr int64_t kFew = 256;
  if (positions.is_cpu() && positions.numel() * frequencies.numel() <= kFew) {
    const at::ScalarType few = ops::wide(dtype);
    return few == at::kDouble ? few_angles<double>(positions, frequencies, few)
                              : few_angles<float>(positions, frequencies, few);
  }
  const at::Tensor angles = positions.unsqueeze(-1) * frequencies;
  const at::ScalarType kept = ops::wide(dtype);
  return {angles.cos().to(kept).contiguous(), angles.sin().to(kept).contiguous()};
}

at::Tensor rotate(const at::Tensor& heads, const Rotation& rotation) {
  ECHO_CHECK(heads.dim() == 4 && rotation.cosine.dim() == 3 &&
                 rotation.cosine.size(1) == heads.size(1) &&
                 2 * rotation.cosine.size(2) <= heads.size(3),
             "heads " << heads.sizes() << " turned by angles " << rotation.cosine.sizes());
  if (!ops::has_kernel(heads)) return reference::rotate(heads, rotation);
  if (ops::needs_graph(heads)) return TurnFunction::apply(heads, rotation.cosine, rotation.sine);
  return turned(heads, rotation, 1);
}

}  // namespace echo
