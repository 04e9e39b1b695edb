#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

#include <optional>

namespace echo {

struct GlaOptions {
  int64_t heads = 4;
  std::optional<int64_t> kv_heads;
  std::optional<int64_t> key_width;
  std::optional<int64_t> value_width;
  double gate_normalizer = 16;
  int64_t gate_rank = 16;
  std::optional<double> gate_floor;
  double norm_eps = 1e-5;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Gated linear attention: a memory of constant size with a decay per channel of a key. Equations
// and state: README.md.
class Gla final : public Mixer {
 public:
  Gla(const GlaOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  at::Tensor decays(const at::Tensor& low_rank) const;

  GlaOptions options_;
  Traits traits_;
  int64_t groups_;  // heads of keys and values
  int64_t keys_;    // K
  int64_t values_;  // V
  Linear* input_;
  Linear* decay_;  // gate_rank -> groups K
  Linear* output_;
  at::Tensor norm_;  // (V)
};

}  // namespace echo
