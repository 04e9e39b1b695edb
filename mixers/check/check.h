#pragma once

#include "mixers/check/shared_parameters.h"

#include <echo/fields.h>
#include <echo/members.h>
#include <echo/mixer.h>

#include <memory>
#include <string>
#include <vector>

namespace echo {

struct CheckOptions {
  std::vector<MixerChoice> mixers;
  double tolerance = 1e-5;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Two mixers that must agree: y = mixer_0(x), and the run stops with an Error where mixer_1, with
// the same parameters and memories of its own, gives something else. A diagnostic: it runs both and
// waits for the device at every pass. What is compared: README.md.
class Check final : public Mixer {
 public:
  Check(const CheckOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  void compare(const at::Tensor& first, const at::Tensor& second, const Span& span) const;

  Members members_;
  std::unique_ptr<Mixer> second_;  // no child: its parameters are the first's
  std::unique_ptr<SharedParameters> shared_;
  std::string subject_;  // "block 3: 'ska' and 'ska'", for messages
  double tolerance_;
  Traits traits_;
};

}  // namespace echo
