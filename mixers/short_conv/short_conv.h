#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

namespace echo {

struct ShortConvOptions {
  enum class Activation { none, silu };

  int64_t kernel = 3;
  bool gate = true;
  Activation activation = Activation::none;

  void visit(Fields& fields);
};

// The gated convolution of the MQAR literature: each channel sees its last `kernel` tokens, and a
// linear map of the token itself gates the result. Equations and state: README.md.
class ShortConv final : public Mixer {
 public:
  ShortConv(const ShortConvOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  ShortConvOptions options_;
  Traits traits_;
  int64_t width_;
  at::Tensor weight_;       // (D, 1, W)
  at::Tensor bias_;         // (D)
  Linear* gate_ = nullptr;  // null: no gate
};

}  // namespace echo
