#include "mixers/delta_rule/kda.h"

#include <ATen/ATen.h>

namespace echo {

using at::Tensor;

void KdaOptions::visit(Fields& fields) {
  visit_heads(fields);
  visit_value_heads(fields);
  visit_rest(fields);
  fields("gate_floor", gate_floor,
         "least log decay, as -5: g = gate_floor sigmoid(exp(A_log) f); null: -exp(A_log) "
         "softplus(f)",
         Range{.high = 0, .high_open = true});
  fields("gate_bias", gate_bias, "of the second map of the output gate");
}

Kda::Kda(const KdaOptions& options, const Place& place)
    : DeltaRule(options, place,
                {{"f_proj.0", *options.value_width}, {"g_proj.0", *options.value_width}}),
      gate_floor_(options.gate_floor),
      decay_(&second_map("f_proj.1", value_width_, heads_ * key_width_, false)),
      gate_(&second_map("g_proj.1", value_width_, heads_ * value_width_, options.gate_bias)) {
  A_log_ = parameter("A_log", {heads_}, gate_floor_ ? init::zeros() : init::log_of_uniform(1, 16),
                     {.decay = false});
  dt_bias_ = parameter("dt_bias", {heads_ * key_width_}, init::time_step_bias(), {.decay = false});
}

int64_t Kda::own_flops(int64_t tokens) const {
  return decay_->flops(tokens) + gate_->flops(tokens);
}

Tensor Kda::decays(const std::vector<Tensor>& maps) const {
  const Tensor f = (*decay_)(maps[0]).unflatten(2, {heads_, key_width_});
  const Tensor scale = A_log_.unsqueeze(1), shift = dt_bias_.view({heads_, key_width_});
  if (!gate_floor_) return decay_rates(f, scale, shift);
  const at::ScalarType wide = statistics_dtype();
  return at::sigmoid((f.to(wide) + shift.to(wide)) * scale.to(wide).exp()) * *gate_floor_;
}

Tensor Kda::gate(const Tensor& o, const std::vector<Tensor>& maps) const {
  return o.flatten(2) * (*gate_)(maps[1]).to(o.scalar_type()).sigmoid();
}

}  // namespace echo
