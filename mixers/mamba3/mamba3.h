#pragma once

#include "mixers/mamba3/rotation.h"

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

namespace echo {

struct Mamba3Options {
  enum class Activation { heavy, softplus };

  int64_t expand = 2;
  int64_t head_width = 64;
  int64_t state = 128;
  int64_t groups = 1;
  double rope_fraction = 0.5;
  int64_t mimo_rank = 0;
  bool output_norm = false;
  Activation a_activation = Activation::heavy;
  double a_floor = 1e-4;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Selective state space model with a trapezoidal rule, rotating inputs and outputs, and, as an
// option, several of each per token (MIMO). Equations and state: README.md.
class Mamba3 final : public Mixer {
 public:
  Mamba3(const Mamba3Options& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  struct Tokens;
  Tokens tokens(const at::Tensor& x, const Span& span) const;
  at::Tensor decays(const at::Tensor& raw) const;
  void turn(Tokens& tokens, const at::Tensor& b, const at::Tensor& c, const at::Tensor& angle,
            const Span& span) const;
  void go_on(Tokens& tokens, const at::Tensor& b, const Span& span) const;
  at::Tensor by_rank(const at::Tensor& heads, const at::Tensor& weight) const;
  at::Tensor scan(const Tokens& tokens, const Span& span) const;
  at::Tensor step(const at::Tensor& projected, State& state, const Span& span) const;
  void store(const Tokens& tokens, const at::Tensor& memory, const Span& span) const;
  at::Tensor gate(const at::Tensor& y, const at::Tensor& z) const;

  Mamba3Options options_;
  Traits traits_;
  int64_t inner_;   // d_in
  int64_t heads_;   // H
  int64_t ranks_;   // R, at least 1
  int64_t angles_;  // pairs of a head that turn
  mamba3::Pairing pairing_;
  Linear* input_;
  Linear* output_;
  at::Tensor dt_bias_, D_;               // (H)
  at::Tensor B_norm_, C_norm_;           // (N)
  at::Tensor B_bias_, C_bias_;           // (H, R, N)
  at::Tensor mimo_x_, mimo_z_, mimo_o_;  // (H, R, P), undefined without MIMO
  at::Tensor norm_;                      // (d_in), undefined without output_norm
};

}  // namespace echo
