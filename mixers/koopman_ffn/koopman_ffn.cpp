#include "mixers/koopman_ffn/koopman_ffn.h"

#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <limits>

#include <ATen/ATen.h>

namespace echo {

void KoopmanFfnOptions::visit(Fields& fields) {
  fields("hidden", hidden, "width of the lifted space, even; null: 8/3 of the model's, up to 64's",
         size_from(2));
  fields("gated", gated, "multiply by a sigmoid gate before the readout");
  fields.choice("constraint", constraint,
                {{"disk", Constraint::disk}, {"circle", Constraint::circle}},
                "where the modes lie: in the unit disk, or on the circle (turns only)");
}

void KoopmanFfnOptions::complete(const Place& place) {
  if (!hidden) hidden = (8 * place.width + 3 * 64 - 1) / (3 * 64) * 64;
  if (*hidden % 2 != 0) {
    throw FieldError("hidden", "hidden is " + std::to_string(*hidden) +
                                   ", and the layer turns pairs: make it even, as " +
                                   std::to_string(*hidden + 1));
  }
}

KoopmanFfn::KoopmanFfn(const KoopmanFfnOptions& options, const Place& place)
    : Mixer(place), options_(options) {
  const int64_t hidden = options_.hidden.value();
  traits_.memory = Memory::none;
  traits_.stretch = true;
  traits_.replays = true;
  std::vector<LinearBlock> maps = {{"lift", hidden}};
  if (options_.gated) maps.push_back({"gate", hidden});
  lift_gate_ = &child("", std::make_unique<Linear>(place.width, maps, place.options));
  readout_ =
      &child("", std::make_unique<Linear>(
                     hidden, std::vector<LinearBlock>{{"readout", place.width}}, place.options));
  a_ = parameter("a", {hidden / 2}, init::ones(), {.decay = false});
  b_ = parameter("b", {hidden / 2}, init::normal(0.1), {.decay = false});
}

int64_t KoopmanFfn::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length;
  return lift_gate_->flops(tokens) + readout_->flops(tokens) + 3 * tokens * *options_.hidden;
}

at::Tensor KoopmanFfn::modes() const {
  // A floor on the square keeps the root's derivative finite at zero.
  const double floor = options_.constraint == KoopmanFfnOptions::Constraint::disk
                           ? 1.0
                           : std::numeric_limits<float>::min();
  const at::Tensor size = (a_.square() + b_.square()).clamp_min(floor).sqrt();
  return at::complex(a_ / size, -b_ / size);
}

at::Tensor KoopmanFfn::forward(const at::Tensor& x, const Span&) {
  const std::vector<at::Tensor> parts = lift_gate_->split(x);
  // (a g1 + b g2) + i (a g2 - b g1) = (a - i b) (g1 + i g2): one product of complex numbers.
  const at::Tensor g = at::silu(parts[0]).to(a_.scalar_type());
  const at::Tensor pairs = at::view_as_complex(g.unflatten(-1, {-1, 2}).contiguous());
  at::Tensor turned = at::view_as_real(pairs * modes()).flatten(-2).to(x.scalar_type());
  if (options_.gated) turned = turned * parts[1].sigmoid();
  return (*readout_)(turned);
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<KoopmanFfn, KoopmanFfnOptions>(
      "koopman_ffn", "feed-forward layer of turned and shrunk pairs");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("koopman_ffn", "0.1.0", "Koopman feed-forward layer", "koopman_ffn", echo::load)
