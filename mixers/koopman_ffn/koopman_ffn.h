#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

#include <optional>

namespace echo {

struct KoopmanFfnOptions {
  enum class Constraint { disk, circle };

  std::optional<int64_t> hidden;
  bool gated = false;
  Constraint constraint = Constraint::disk;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Koopman feed-forward layer: lift, turn and shrink neighbouring pairs, read out. No memory.
// Equations: README.md.
class KoopmanFfn final : public Mixer {
 public:
  KoopmanFfn(const KoopmanFfnOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  at::Tensor modes() const;  // (hidden / 2) complex: a - i b after the constraint

  KoopmanFfnOptions options_;
  Traits traits_;
  Linear* lift_gate_;
  Linear* readout_;
  at::Tensor a_;  // (hidden / 2)
  at::Tensor b_;  // (hidden / 2)
};

}  // namespace echo
