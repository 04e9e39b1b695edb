#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>
#include <echo/stretch.h>

#include <limits>
#include <vector>

namespace echo {

struct Mamba2Options {
  double expand = 2;
  int64_t head_width = 64;
  int64_t state = 128;
  int64_t groups = 1;
  int64_t kernel = 4;
  bool bias = false;
  bool conv_bias = true;
  std::vector<double> dt_limit = {0, std::numeric_limits<double>::infinity()};
  bool norm = true;
  double norm_eps = 1e-5;

  void visit(Fields& fields);
  void complete(const Place& place);
  int64_t inner_width(int64_t width) const;  // d_in of a model of that width
};

// Selective state space model with a scalar decay per head. Equations and state: README.md.
class Mamba2 final : public Mixer {
 public:
  Mamba2(const Mamba2Options& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  at::Tensor convolve(const at::Tensor& xBC, const Span& span, Arrival* before) const;
  at::Tensor time_steps(const at::Tensor& raw) const;
  at::Tensor scan(const at::Tensor& xBC, const at::Tensor& dt, const Span& span) const;
  at::Tensor gate_and_norm(const at::Tensor& y, const at::Tensor& z) const;
  at::Tensor step(const at::Tensor& projected, const Span& span) const;

  Mamba2Options options_;
  Traits traits_;
  int64_t inner_;     // d_in
  int64_t heads_;     // H
  int64_t channels_;  // of the convolution: d_in + 2 G N
  Linear* input_;
  Linear* output_;
  at::Tensor conv_weight_, conv_bias_;  // (channels, 1, W), (channels)
  at::Tensor dt_bias_, A_log_, D_;      // (H)
  at::Tensor norm_;                     // (d_in), or undefined
};

}  // namespace echo
