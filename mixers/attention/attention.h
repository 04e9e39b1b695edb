#pragma once

#include <echo/fields.h>
#include <echo/linear.h>
#include <echo/mixer.h>
#include <echo/ops.h>

#include <functional>
#include <optional>

namespace echo {

// What the norms of queries and keys take the mean over.
enum class NormSpan { head, all };

struct AttentionOptions {
  int64_t heads = 4;
  std::optional<int64_t> kv_heads;
  std::optional<int64_t> head_width;
  std::optional<double> rope_theta = 10000;
  double rope_fraction = 1;
  std::optional<int64_t> window;
  bool bias = false;
  bool output_bias = false;
  bool output_gate = false;
  bool qk_norm = false;
  NormSpan qk_norm_over = NormSpan::head;
  double norm_eps = 1e-6;

  void visit(Fields& fields);
  void complete(const Place& place);
};

// Softmax attention: many heads, grouped keys and values, rotary positions, a sliding window.
// Equations, state and what it costs: README.md.
class Attention final : public Mixer {
 public:
  Attention(const AttentionOptions& options, const Place& place);

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override;
  int64_t flops(int64_t batch, int64_t length) const override;

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override;

 private:
  struct Heads {
    at::Tensor q;     // (B, T, H, hd)
    at::Tensor k;     // (B, T, Hkv, hd)
    at::Tensor v;     // (B, T, Hkv, hd)
    at::Tensor gate;  // (B, T, H hd), or undefined
  };
  // Keys and values before a stretch, (B, Hkv, M, hd), and their positions (B, M); undefined: none.
  struct Earlier {
    at::Tensor k, v, position;
  };
  Earlier earlier(const Heads& heads, const Span& span) const;
  std::function<Earlier()> earlier_parts(const Heads& heads, Stretch& stretch) const;
  at::Tensor positions_of(const at::Tensor& x, const Span& span) const;
  at::Tensor normed(const at::Tensor& heads, const at::Tensor& weight) const;
  Heads project(const at::Tensor& x, const at::Tensor& positions) const;
  at::Tensor attend(const Heads& heads, const at::Tensor& positions, const Span& span) const;
  at::Tensor attend_part(const Heads& heads, const at::Tensor& positions, Stretch& stretch) const;
  at::Tensor decode(const Heads& heads, const at::Tensor& positions, const Span& span) const;

  AttentionOptions options_;
  Traits traits_;
  int64_t width_;
  int64_t groups_;      // Hkv
  int64_t head_width_;  // hd
  Linear* qkv_;
  Linear* output_;
  at::Tensor q_norm_;       // (hd) or (H hd), or undefined
  at::Tensor k_norm_;       // (hd) or (Hkv hd), or undefined
  at::Tensor frequencies_;  // of rotary positions, or undefined
};

}  // namespace echo
