#pragma once

#include <echo/fields.h>
#include <echo/members.h>
#include <echo/mixer.h>

#include <vector>

namespace echo {

struct ParallelOptions {
  std::vector<MixerChoice> mixers;
  std::vector<double> scales;  // after complete() one for each mixer

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Several mixers beside each other: y = s_0 mixer_0(x) + s_1 mixer_1(x) + ... Their tensors are
// "<n>.<name>". Equations and state: README.md.
class Parallel final : public Mixer {
 public:
  Parallel(const ParallelOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  Members members_;
  std::vector<double> scales_;
  Traits traits_;
};

}  // namespace echo
