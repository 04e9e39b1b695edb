#pragma once

#include "mixers/ska/parts.h"
#include "mixers/ska/tokens.h"

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

#include <optional>

namespace echo {

struct SkaOptions {
  enum class Normalisation { l2, sequence_max };
  enum class Beta { learned, fixed, one };
  enum class Mode { exact, prefix };

  int64_t heads = 4;
  int64_t rank = 24;
  std::optional<int64_t> value_width;
  int64_t power = 1;
  double ridge = 0.1;
  Normalisation normalisation = Normalisation::l2;
  Beta beta = Beta::learned;
  double beta_value = 1;
  bool read_gate = false;
  bool value_lag = false;
  double eta = 1;
  double gamma = 1;
  bool learn_gamma = false;
  bool spectral_norm = false;
  Mode mode = Mode::exact;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Spectral Koopman attention: every token reads a ridge regression of values on keys, through a
// power of the operator that leads from key to next key. Memory of constant size. Equations, state
// and numerics: README.md.
class Ska final : public Mixer {
 public:
  Ska(const SkaOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  ska::Features features(const at::Tensor& x, const Span& span) const;
  at::Tensor key_norm(const at::Tensor& keys, const Span& span) const;
  void add_read_gate(ska::Features& features) const;
  void add_weights(ska::Features& features, const std::vector<at::Tensor>& projected) const;

  at::Tensor read(const at::Tensor& x, const Span& span, State& state) const;  // span.state aside

  void go_on(const ska::Earlier& earlier, State& state) const;

  // Each reads a stretch from the state and updates it: y (B, T, H, P).
  at::Tensor read_exact(const ska::Features& features, Stretch* stretch, State& state) const;
  at::Tensor read_steps(const ska::Features& features, State& state) const;
  at::Tensor read_prefix(const ska::Features& features, const at::Tensor& prefix,
                         State& state) const;

  SkaOptions options_;
  ska::Reading reading_;
  Traits traits_;
  int64_t value_width_;  // P
  Linear* projections_ = nullptr;
  Linear* output_ = nullptr;
  at::Tensor eta_;                      // (H)
  at::Tensor gamma_;                    // scalar; undefined unless learned
  at::Tensor gate_weight_, gate_bias_;  // (H, R), (H); undefined without read gate
};

}  // namespace echo
