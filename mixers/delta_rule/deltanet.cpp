#include "mixers/delta_rule/deltanet.h"

#include <echo/ops.h>

#include <ATen/ATen.h>

namespace echo {

using at::Tensor;

namespace {

std::vector<LinearBlock> own_maps(const DeltaNetOptions& options) {
  if (!options.output_gate) return {};
  return {{"g_proj", options.heads * *options.value_width}};
}

}  // namespace

void DeltaNetOptions::visit(Fields& fields) {
  visit_heads(fields);
  visit_rest(fields);
  fields("output_gate", output_gate, "silu(g_proj x) on the output, after the norm");
}

DeltaNet::DeltaNet(const DeltaNetOptions& options, const Place& place)
    : DeltaRule(options, place, own_maps(options)) {}

Tensor DeltaNet::gate(const Tensor& o, const std::vector<Tensor>& maps) const {
  const Tensor y = o.flatten(2);
  return maps.empty() ? y : silu_multiply(maps[0].to(y.scalar_type()), y);
}

}  // namespace echo
