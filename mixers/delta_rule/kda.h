#pragma once

#include "mixers/delta_rule/delta_rule.h"

namespace echo {

struct KdaOptions : DeltaRuleOptions {
  std::optional<double> gate_floor = std::nullopt;
  bool gate_bias = true;

  void visit(Fields& fields);
};

// Kimi Delta Attention: the delta rule with a decay per channel of a key.
class Kda final : public DeltaRule {
 public:
  Kda(const KdaOptions& options, const Place& place);

 protected:
  at::Tensor decays(const std::vector<at::Tensor>& maps) const override;
  at::Tensor gate(const at::Tensor& o, const std::vector<at::Tensor>& maps) const override;
  int64_t own_flops(int64_t tokens) const override;

 private:
  std::optional<double> gate_floor_;
  Linear* decay_;               // V -> H K
  Linear* gate_;                // V -> H V
  at::Tensor A_log_, dt_bias_;  // (H), (H K)
};

}  // namespace echo
