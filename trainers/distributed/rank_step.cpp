#include "trainers/distributed/rank_step.h"

#include "framework/src/accounting/owned_state.h"
#include "framework/src/ranks/buckets.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

class LossProbe final : public Probe {
 public:
  void record(const std::string&, const at::Tensor&) override {}
  void loss(const std::string&, const at::Tensor& scalar) override { losses.push_back(scalar); }
  std::vector<at::Tensor> losses;
};

}  // namespace

RankStep::RankStep(const Recipe& recipe, const Registry& registry, const Mesh& mesh,
                   at::Device device)
    : model_(std::make_unique<Model>(
          recipe.model, registry, at::TensorOptions().dtype(at::kFloat).device(device),
          recipe.train.precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat)),
      optimizer_(make(registry.optimizers, recipe.train.optimizer, OptimizerPlace{})),
      clip_(recipe.train.clip) {
  initialize(*model_, static_cast<uint64_t>(recipe.seed));
  dropout_.seed = static_cast<uint64_t>(recipe.seed);
  parameters_ = model_->parameters();
  places_.resize(parameters_.size());
  for (const std::vector<size_t>& bucket : gradient_buckets(parameters_)) {
    int64_t elements = 0;
    for (const size_t i : bucket) elements += bucket_elements(parameters_[i]);
    buckets_.push_back(at::zeros({elements}, parameters_.front().storage.options()));
    int64_t first = 0;
    for (const size_t i : bucket) {
      const Parameter& parameter = parameters_[i];
      places_[i] =
          buckets_.back().narrow(0, first, parameter.numel()).view(parameter.value().sizes());
      first += bucket_elements(parameter);
    }
  }
  const OptimizerCost cost = optimizer_cost(recipe.train.optimizer, registry);
  kept_ = (mesh.zero > 0 ? largest_share(parameters_, cost, mesh.ranks())
                         : all_state(parameters_, cost))
              .parameters;
  for (const size_t i : kept_) {
    const Parameter& parameter = parameters_[i];
    slots_.push_back({.name = parameter.name,
                      .parameter = parameter.value(),
                      .gradient = {},
                      .decay = parameter.options.decay,
                      .state = {}});
  }
}

void RankStep::run(const StepData& data) {
  for (const StepData::Part& part : data.parts) {
    if (part.batch.scored_count > 0) add_part(data, part);
  }
  take_gradients();
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) gradients.push_back(slot.gradient);
  const at::Tensor norm = at::stack(at::_foreach_norm(gradients, 2)).to(at::kDouble).norm();
  if (clip_ && norm.item<double>() > *clip_)
    at::_foreach_mul_(gradients, *clip_ / norm.item<double>());
  optimizer_->update(slots_, optimizer_->peak_rate(), data.step);
}

void RankStep::add_part(const StepData& data, const StepData::Part& part) {
  LossProbe probe;
  dropout_.first_sample = part.first_sample;
  ModelSpan span = part.batch.span();
  span.probe = &probe;
  span.dropout = &dropout_;
  at::Tensor loss = loss_sum(*model_, part.batch, span) / static_cast<double>(data.scored);
  for (const at::Tensor& more : probe.losses) loss = loss + more;
  probe.losses.clear();
  loss.backward();
}

// The buckets have the gradients, and the model's own go.
void RankStep::take_gradients() {
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor gradient = parameters_[i].gradient();
    if (gradient.defined()) places_[i].copy_(gradient);
  }
  for (const Parameter& parameter : parameters_) parameter.storage.mutable_grad().reset();
  for (size_t i = 0; i < kept_.size(); ++i) slots_[i].gradient = places_[kept_[i]];
}

}  // namespace echo
