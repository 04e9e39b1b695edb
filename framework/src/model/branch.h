#pragma once

#include "framework/src/model/norm.h"
#include "framework/src/recipe/recipe.h"

#include <echo/error.h>
#include <echo/registry.h>

#include <string>

namespace echo {

// Masks of dropout: every sample of the run has its own streams, one for every few thousand tokens,
// so they depend on no batch size or rank.
struct Dropout {
  uint64_t seed = 0;
  int64_t first_sample = 0;  // index in the run of the batch's first row
};

// x times a mask that keeps a share of 1 - rate of its numbers and makes them larger by as much.
// `site` names the place in the model; x begins with token `first_token` of its samples. x itself
// where rate is 0 or masks is null.
at::Tensor dropped(const at::Tensor& x, double rate, const std::string& site, const Dropout* masks,
                   int64_t first_token = 0);

// What went wrong in a mixer of a plugin; the message names the kind, the place in the model and
// the file. Mixers of the program throw what they throw.
class MixerFailed : public Error {
 public:
  using Error::Error;
};

// A residual branch of a block: x += scale * mixer(norm(x)), with the norm before the mixer, behind
// it, or left out. Its tensors are norm.weight and mixer.<name>.
class Branch final : public Module {
 public:
  // `name` is "blocks.0.1": in messages and reports, and of its stream of dropout.
  Branch(std::string name, const BranchRecipe& recipe, const ModelRecipe& model,
         const Registry& registry, const Place& place);

  // (B, T, D) -> (B, T, D). A probe of `span` gets the mixer's output as "<name>.mixer".
  at::Tensor operator()(const at::Tensor& x, const Span& span, const Dropout* masks);

  const std::string& name() const { return name_; }
  const Mixer& mixer() const { return *mixer_; }

 private:
  at::Tensor mix(const at::Tensor& x, const Span& span);
  [[noreturn]] void fail(const std::string& reason) const;

  std::string name_;
  std::string strangers_;  // "turns/throws": kinds of plugins, also inside of the mixer; or nothing
  NormPlacement placement_;
  double scale_;
  double dropout_;
  Norm* norm_ = nullptr;  // null: none
  Mixer* mixer_ = nullptr;
};

}  // namespace echo
