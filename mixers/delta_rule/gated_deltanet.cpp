#include "mixers/delta_rule/gated_deltanet.h"

#include <echo/ops.h>

#include <ATen/ATen.h>

namespace echo {

using at::Tensor;

void GatedDeltaNetOptions::visit(Fields& fields) {
  visit_heads(fields);
  visit_value_heads(fields);
  visit_rest(fields);
}

GatedDeltaNet::GatedDeltaNet(const GatedDeltaNetOptions& options, const Place& place)
    : DeltaRule(options, place,
                {{"a_proj", *options.value_heads},
                 {"g_proj", *options.value_heads * *options.value_width}}) {
  A_log_ = parameter("A_log", {heads_}, init::log_of_uniform(0.01, 16), {.decay = false});
  dt_bias_ = parameter("dt_bias", {heads_}, init::time_step_bias(), {.decay = false});
}

Tensor GatedDeltaNet::decays(const std::vector<Tensor>& maps) const {
  return decay_rates(maps[0], A_log_, dt_bias_);
}

Tensor GatedDeltaNet::gate(const Tensor& o, const std::vector<Tensor>& maps) const {
  return silu_multiply(maps[1].to(o.scalar_type()), o.flatten(2));
}

}  // namespace echo
