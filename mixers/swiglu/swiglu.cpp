#include "mixers/swiglu/swiglu.h"

#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <ATen/ATen.h>

namespace echo {

void SwigluOptions::visit(Fields& fields) {
  fields("hidden", hidden, "width of the hidden layer; null: 8/3 of the model's, up to 64's",
         size_from(1));
}

void SwigluOptions::complete(const Place& place) {
  if (!hidden) hidden = (8 * place.width + 3 * 64 - 1) / (3 * 64) * 64;
}

Swiglu::Swiglu(const SwigluOptions& options, const Place& place) : Mixer(place) {
  const int64_t hidden = options.hidden.value();
  traits_.memory = Memory::none;
  traits_.stretch = true;
  traits_.replays = true;
  gate_up_ = &child(
      "", std::make_unique<Linear>(
              place.width, std::vector<LinearBlock>{{"gate_proj", hidden}, {"up_proj", hidden}},
              place.options));
  down_ =
      &child("", std::make_unique<Linear>(
                     hidden, std::vector<LinearBlock>{{"down_proj", place.width}}, place.options));
}

int64_t Swiglu::flops(int64_t batch, int64_t length) const {
  return gate_up_->flops(batch * length) + down_->flops(batch * length);
}

at::Tensor Swiglu::forward(const at::Tensor& x, const Span&) {
  const std::vector<at::Tensor> parts = gate_up_->split(x);
  return (*down_)(silu_multiply(parts[0], parts[1]));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Swiglu, SwigluOptions>("swiglu", "gated feed-forward layer");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("swiglu", "0.1.0", "gated feed-forward layer", "swiglu", echo::load)
