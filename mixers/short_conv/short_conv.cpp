#include "mixers/short_conv/short_conv.h"

#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>
#include <echo/stretch.h>

#include <cmath>

#include <ATen/ATen.h>

namespace echo {

void ShortConvOptions::visit(Fields& fields) {
  fields("kernel", kernel, "tokens that an output sees, itself included", size_from(1));
  fields("gate", gate, "multiply by a linear map of the token itself");
  fields.choice("activation", activation, {{"none", Activation::none}, {"silu", Activation::silu}},
                "applied to the convolution, before the gate");
}

ShortConv::ShortConv(const ShortConvOptions& options, const Place& place)
    : Mixer(place), options_(options), width_(place.width) {
  traits_.memory = options_.kernel > 1 ? Memory::constant : Memory::none;
  traits_.stretch = true;
  traits_.replays = true;
  const double bound = 1 / std::sqrt(static_cast<double>(options_.kernel));
  weight_ = parameter("conv1d.weight", {width_, 1, options_.kernel}, init::uniform(-bound, bound));
  bias_ = parameter("conv1d.bias", {width_}, init::uniform(-bound, bound), {.decay = false});
  if (!options_.gate) return;
  const double gate_bound = 1 / std::sqrt(static_cast<double>(width_));
  const LinearBlock gate{"gate_proj", width_, init::kaiming_uniform(),
                         init::uniform(-gate_bound, gate_bound)};
  gate_ =
      &child("", std::make_unique<Linear>(width_, std::vector<LinearBlock>{gate}, place.options));
}

State ShortConv::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  if (options_.kernel == 1) return state;
  state.add("conv", at::zeros({options.batch, width_, options_.kernel - 1},
                              at::TensorOptions().dtype(options.dtype).device(options.device)));
  return state;
}

int64_t ShortConv::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length;
  return 2 * tokens * width_ * options_.kernel + (gate_ ? gate_->flops(tokens) : 0);
}

at::Tensor ShortConv::forward(const at::Tensor& x, const Span& span) {
  State* const state = options_.kernel > 1 ? span.state : nullptr;
  at::Tensor memory = state ? state->get("conv") : at::Tensor(), gate;
  if (span.stretch && options_.kernel > 1) {  // the gate hides the way of the tokens before
    Arrival before = span.stretch->halo(x, options_.kernel - 1, "inputs of a convolution");
    if (gate_) gate = (*gate_)(x);
    memory = before.finish().transpose(1, 2);
  }
  const Convolved convolved = causal_convolution(x, weight_, bias_, memory, span);
  if (state) state->set("conv", convolved.memory);
  at::Tensor y = convolved.y;
  if (options_.activation == ShortConvOptions::Activation::silu) y = at::silu(y);
  if (!gate_) return y;
  return y * (gate.defined() ? gate : (*gate_)(x));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<ShortConv, ShortConvOptions>(
      "short_conv", "gated causal convolution over the last few tokens");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("short_conv", "0.1.0", "gated causal convolution", "short_conv", echo::load)
