#pragma once

#include "framework/src/model/model.h"

#include <ATen/ATen.h>

namespace echo {

// A mixer small enough to check by hand: y_t = scale * (x_1 + ... + x_t), with the running sum as
// its state.
struct RunningSumOptions {
  double scale = 1;
  void visit(Fields& fields) { fields("scale", scale, "factor of the sum"); }
};

class RunningSum final : public Mixer {
 public:
  RunningSum(const RunningSumOptions& options, const Place& place)
      : Mixer(place), options_(options), gain_(parameter("gain", {place.width}, init::ones())) {}
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override {
    return batch * length * gain_.numel();
  }
  State initial_state(const StateOptions& options) const override {
    State state(options.batch, options.device);
    state.add("sum", at::zeros({options.batch, gain_.size(0)}, gain_.options()));
    return state;
  }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override {
    at::Tensor sum =
        span.state ? span.state->get("sum") : at::zeros({x.size(0), x.size(2)}, x.options());
    std::vector<at::Tensor> outputs;
    for (int64_t t = 0; t < x.size(1); ++t) {
      if (span.starts.defined())
        sum = at::where(span.starts.select(1, t).unsqueeze(1), at::zeros_like(sum), sum);
      sum = sum + x.select(1, t);
      outputs.push_back(sum);
    }
    if (span.state) span.state->set("sum", sum);
    return at::stack(outputs, 1) * gain_ * options_.scale;
  }

 private:
  RunningSumOptions options_;
  at::Tensor gain_;
  Traits traits_;
};

inline Registry small_registry() {
  Registry registry;
  registry.add_mixer<RunningSum, RunningSumOptions>("running_sum", "sum of the past");
  return registry;
}

// Two blocks: one branch with a norm before it, and two branches, with a norm after and without.
inline ModelRecipe small_recipe() {
  const KindChoice mixer{.kind = "running_sum",
                         .options = std::make_shared<OptionsOf<RunningSumOptions>>()};
  ModelRecipe recipe;
  recipe.width = 4;
  recipe.vocabulary = 10;
  recipe.blocks = {
      {{.mixer_name = "sum", .mixer = mixer, .norm = NormPlacement::pre, .scale = 0.5}},
      {{.mixer_name = "sum", .mixer = mixer, .norm = NormPlacement::post},
       {.mixer_name = "sum", .mixer = mixer, .norm = NormPlacement::none}}};
  return recipe;
}

inline std::unique_ptr<Model> small_model(const ModelRecipe& recipe = small_recipe()) {
  auto model = std::make_unique<Model>(recipe, small_registry(),
                                       at::TensorOptions().dtype(at::kDouble), at::kDouble);
  initialize(*model, 1);
  return model;
}

inline at::Tensor small_tokens(int64_t batch, int64_t length) {
  return (at::arange(batch * length, at::kLong) * 7 % 10).view({batch, length});
}

}  // namespace echo
