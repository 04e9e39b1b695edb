#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>
#include <echo/stretch.h>

#include <optional>
#include <string>
#include <vector>

namespace echo {

// What the kinds of this folder share, with the fields' names.
struct DeltaRuleOptions {
  int64_t heads = 4;
  std::optional<int64_t> value_heads;
  std::optional<int64_t> key_width;
  std::optional<int64_t> value_width;
  int64_t kernel = 4;
  bool negative_eigenvalues = false;
  double norm_eps = 1e-5;

  void visit_heads(Fields& fields);
  void visit_value_heads(Fields& fields);
  void visit_rest(Fields& fields);
  void complete(const Place& place);
};

// S~ = exp(g_t) S_{t-1}, u_t = beta_t (v_t - S~^T k_t), S_t = S~ + k_t u_t^T, o_t = S_t^T q_t over
// convolved and normalised queries, keys and values; a norm per head; then the kind's gate and the
// output map. Kinds say what g is and what the gate is. Equations and state: README.md.
class DeltaRule : public Mixer {
 public:
  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  // own: the kind's linear maps of x, beside those of q, k, v and beta.
  DeltaRule(const DeltaRuleOptions& options, const Place& place, std::vector<LinearBlock> own);

  // Log decays (B, T, H), or (B, T, H, K) for one per channel of a key; undefined: none. maps: what
  // the own linear maps gave, (B, T, rows) each.
  virtual at::Tensor decays(const std::vector<at::Tensor>& maps) const = 0;

  // o (B, T, H, V), normalised -> (B, T, H V), gated; in the dtype of o or of x.
  virtual at::Tensor gate(const at::Tensor& o, const std::vector<at::Tensor>& maps) const = 0;

  // Of the kind's own maps that do not read x.
  virtual int64_t own_flops(int64_t /*tokens*/) const { return 0; }

  // A map of what another one gives, with or without a bias.
  Linear& second_map(const std::string& name, int64_t inputs, int64_t rows, bool bias);

  // Decays of a head or of a channel: -exp(A_log) softplus(raw + dt_bias).
  at::Tensor decay_rates(const at::Tensor& raw, const at::Tensor& A_log,
                         const at::Tensor& dt_bias) const;

  at::Tensor forward(const at::Tensor& x, const Span& span) override;

  int64_t heads_;        // H, of values
  int64_t key_width_;    // K
  int64_t value_width_;  // V

 private:
  // Rows of x's maps that the convolution sees: of q and of k, of v.
  int64_t key_rows() const { return options_.heads * key_width_; }
  int64_t value_rows() const { return heads_ * value_width_; }
  int64_t channels() const { return 2 * key_rows() + value_rows(); }

  struct Heads {
    at::Tensor q, k, v;  // (B, T, G, K) normalised, (B, T, G, K), (B, T, H, V)
  };
  // before: the inputs before these tokens, on their way from other ranks; or null.
  using Convolve = Heads (DeltaRule::*)(const std::vector<at::Tensor>&, const Span&,
                                        Arrival* before) const;
  Heads convolve(const std::vector<at::Tensor>& maps, const Span& span, Arrival* before) const;
  Heads convolve_token(const std::vector<at::Tensor>& maps, const Span& span,
                       Arrival* before) const;
  std::optional<Arrival> inputs_before(const std::vector<at::Tensor>& maps, const Span& span) const;
  at::Tensor mix(const at::Tensor& x, const Span& span, Convolve convolve) const;
  at::Tensor remember(const Heads& heads, const at::Tensor& g, const at::Tensor& beta,
                      const Span& span) const;

  DeltaRuleOptions options_;
  Traits traits_;
  Linear* input_;
  Linear* output_;
  at::Tensor q_conv_, k_conv_, v_conv_;  // (rows, 1, W)
  at::Tensor norm_;                      // (V)
};

}  // namespace echo
