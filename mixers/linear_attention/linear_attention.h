#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>

#include <optional>

namespace echo {

struct LinearAttentionOptions {
  enum class FeatureMap { identity, relu, elu };

  int64_t heads = 4;
  std::optional<int64_t> kv_heads;
  std::optional<int64_t> key_width;
  std::optional<int64_t> value_width;
  FeatureMap feature_map = FeatureMap::elu;
  bool normalize = false;
  bool normalize_q = false;
  bool normalize_k = false;
  double norm_eps = 1e-5;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Attention without softmax: a memory of constant size, S = sum k v^T, read by the query.
// Equations and state: README.md.
class LinearAttention final : public Mixer {
 public:
  LinearAttention(const LinearAttentionOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  at::Tensor features(const at::Tensor& part, int64_t heads, bool normalized) const;
  at::Tensor read(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const Span& span) const;
  at::Tensor read_normalized(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const Span& span) const;

  LinearAttentionOptions options_;
  Traits traits_;
  int64_t groups_;  // Hkv
  int64_t keys_;    // K
  int64_t values_;  // V
  Linear* qkv_;
  Linear* output_;
  at::Tensor norm_;  // (V)
};

}  // namespace echo
