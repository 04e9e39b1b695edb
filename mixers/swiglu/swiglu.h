#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

#include <optional>

namespace echo {

struct SwigluOptions {
  std::optional<int64_t> hidden;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Gated feed-forward layer: y = down(silu(gate x) * up x). No memory. Equations: README.md.
class Swiglu final : public Mixer {
 public:
  Swiglu(const SwigluOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  Traits traits_;
  Linear* gate_up_;
  Linear* down_;
};

}  // namespace echo
