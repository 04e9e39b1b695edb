#pragma once

#include "framework/src/model/branch.h"
#include "framework/src/recipe/recipe.h"

#include <echo/linear.h>
#include <echo/registry.h>

#include <optional>
#include <vector>

namespace echo {

// What a model remembers of the tokens that it has read: one State per branch, bottom to top.
struct ModelState {
  State tokens;  // no tensors: the position of every row
  std::vector<State> branches;

  int64_t bytes() const;
  int64_t resident_bytes() const;
  ModelState clone() const;
  ModelState detach() const;
};

// Like Span, for a whole model.
struct ModelSpan {
  ModelState* state = nullptr;
  at::Tensor starts;
  at::Tensor lengths;
  at::Tensor prefix;
  const Offsets* offsets = nullptr;
  Stretch* stretch = nullptr;
  Probe* probe = nullptr;
  const Dropout* dropout = nullptr;  // null: no dropout
};

// Embedding, blocks of residual branches, final norm, head. Tensors are named embedding.weight,
// positions.weight, blocks.<i>.<j>.norm.weight, blocks.<i>.<j>.mixer.<name>, final_norm.weight,
// head.weight. Used by one thread at a time. A probe records every branch's output under its name.
class Model final : public Module {
 public:
  // parameters: dtype and device of the parameters. activations: dtype of x between the branches.
  Model(const ModelRecipe& recipe, const Registry& registry, const at::TensorOptions& parameters,
        at::ScalarType activations);

  // (B, T) int64 -> (B, T, D) after the final norm. Updates span.state.
  at::Tensor hidden(const at::Tensor& tokens, const ModelSpan& span);

  // (..., D) -> (..., V), float32 at least.
  at::Tensor logits(const at::Tensor& hidden) const;

  // Empty memories of a batch; capacity is the number of tokens that growing ones should hold
  // without growing.
  ModelState initial_state(int64_t batch, int64_t capacity) const;

  // Every mixer can go on from a state, one token after the other: causal, without a prefix.
  bool reads_token_by_token() const;
  // The branches, bottom to top.
  const std::vector<Branch*>& branches() const { return branches_; }
  // Tokens of the longest sequence that has positions; none: no limit.
  std::optional<int64_t> longest() const;

  int64_t vocabulary() const { return embedding_.size(0); }
  int64_t parameter_count() const;
  at::Device device() const { return embedding_.device(); }

 private:
  at::Tensor embed(const at::Tensor& tokens, const ModelSpan& span) const;

  ModelRecipe recipe_;
  at::ScalarType activations_;
  at::Tensor embedding_;
  at::Tensor positions_;  // undefined: none
  std::vector<Branch*> branches_;
  Norm* final_norm_ = nullptr;
  Linear* head_ = nullptr;  // null: tied to the embedding
};

}  // namespace echo
