#pragma once

#include "mixers/delta_rule/delta_rule.h"

namespace echo {

struct GatedDeltaNetOptions : DeltaRuleOptions {
  void visit(Fields& fields);
};

// Gated DeltaNet: the delta rule with a decay per head that the token chooses.
class GatedDeltaNet final : public DeltaRule {
 public:
  GatedDeltaNet(const GatedDeltaNetOptions& options, const Place& place);

 protected:
  at::Tensor decays(const std::vector<at::Tensor>& maps) const override;
  at::Tensor gate(const at::Tensor& o, const std::vector<at::Tensor>& maps) const override;

 private:
  at::Tensor A_log_, dt_bias_;  // (H)
};

}  // namespace echo
