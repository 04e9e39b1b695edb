#pragma once

#include <echo/fields.h>
#include <echo/optimizer.h>
#include <echo/registry.h>

#include <vector>

namespace echo {

enum class DecayRule { marked, all };

struct AdamWOptions {
  double peak_rate = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  DecayRule decay = DecayRule::marked;

  void visit(Fields& fields);
  void complete(const OptimizerPlace& place);
};

// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), per element, step t:
//
//     w <- w (1 - rate * weight_decay)
//     m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
//     w <- w - rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
//
// LibTorch's fused kernel: one pass over memory, no host synchronisation. A slot without a gradient
// is left alone. State per parameter: exp_avg (m) and exp_avg_sq (v).
class AdamW final : public Optimizer {
 public:
  AdamW(const AdamWOptions& options, const OptimizerPlace& place);
  double peak_rate() const override { return options_.peak_rate; }
  void update(std::span<Slot> slots, double rate, int64_t step) override;
  std::vector<std::string> state_names() const override { return {"exp_avg", "exp_avg_sq"}; }

 private:
  AdamWOptions options_;
};

}  // namespace echo
