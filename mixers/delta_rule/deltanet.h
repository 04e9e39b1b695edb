#pragma once

#include "mixers/delta_rule/delta_rule.h"

namespace echo {

struct DeltaNetOptions : DeltaRuleOptions {
  bool output_gate = false;

  void visit(Fields& fields);
};

// DeltaNet: the delta rule as it is, without a decay.
class DeltaNet final : public DeltaRule {
 public:
  DeltaNet(const DeltaNetOptions& options, const Place& place);

 protected:
  at::Tensor decays(const std::vector<at::Tensor>&) const override { return {}; }
  at::Tensor gate(const at::Tensor& o, const std::vector<at::Tensor>& maps) const override;
};

}  // namespace echo
