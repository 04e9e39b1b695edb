#include "framework/src/ops/kernel.h"

#include <echo/ops.h>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

// Autograd of the two operators would keep silu(gate) as well: a third of a feed-forward layer's
// activations.
class SiluMultiply : public torch::autograd::Function<SiluMultiply> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& gate,
                            const at::Tensor& up) {
    context->save_for_backward({gate, up});
    return at::silu(gate).mul_(up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& gate = saved[0];
    return {at::silu_backward(gradients[0] * saved[1], gate), gradients[0] * at::silu(gate)};
  }
};

}  // namespace

at::Tensor silu_multiply(const at::Tensor& gate, const at::Tensor& up) {
  if (!ops::needs_graph(gate, up)) return at::silu(gate).mul_(up);
  return SiluMultiply::apply(gate, up);
}

}  // namespace echo
