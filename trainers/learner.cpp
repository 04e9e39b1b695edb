#include "trainers/learner.h"

#include "framework/src/model/branch.h"
#include "framework/src/out_of_memory.h"
#include "trainers/not_finite.h"

#include <cmath>
#include <limits>
#include <new>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

at::ScalarType activations(Precision precision) {
  return precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

// Takes auxiliary losses; what mixers report besides is left to others.
class LossProbe final : public Probe {
 public:
  void record(const std::string&, const at::Tensor&) override {}
  void loss(const std::string& name, const at::Tensor& scalar) override {
    at::Tensor& sum = losses[name];
    sum = sum.defined() ? sum + scalar : scalar;
  }
  std::map<std::string, at::Tensor> losses;
};

void add_to(at::Tensor& sum, const at::Tensor& value) {
  const at::Tensor wide = value.detach().to(at::kDouble);
  sum = sum.defined() ? sum + wide : wide;
}

}  // namespace

struct Learner::Sums {
  at::Tensor loss;
  std::map<std::string, at::Tensor> auxiliary;
};

Learner::Learner(const Recipe& recipe, const Registry& registry, at::Device device)
    : recipe_(recipe),
      model_(std::make_unique<Model>(recipe.model, registry,
                                     at::TensorOptions().dtype(at::kFloat).device(device),
                                     activations(recipe.train.precision))),
      optimizer_(make(registry.optimizers, recipe.train.optimizer, OptimizerPlace{})),
      schedule_(make(registry.schedules, recipe.train.schedule,
                     SchedulePlace{.steps = recipe.train.steps.value()})) {
  initialize(*model_, static_cast<uint64_t>(recipe.seed));
  parameters_ = model_->parameters();
  for (const Parameter& parameter : parameters_) {
    slots_.push_back({.name = parameter.name,
                      .parameter = parameter.value(),
                      .gradient = {},
                      .decay = parameter.options.decay,
                      .state = {}});
  }
  dropout_.seed = static_cast<uint64_t>(recipe.seed);
}

StepResult Learner::step(const StepData& data) {
  StepResult result;
  result.learning_rate = optimizer_->peak_rate() * schedule_->factor(data.step);
  if (data.scored == 0) return result;
  forget_gradients();
  Sums sums;
  for (const StepData::Part& part : data.parts) {
    if (part.batch.scored_count > 0) add_part(data, part, sums);
  }
  take_gradients();
  const at::Tensor facts = at::stack({sums.loss, gradient_norm()}).to(at::kCPU);
  result.loss = facts[0].item<double>() / static_cast<double>(data.scored);
  result.gradient_norm = facts[1].item<double>();
  if (!std::isfinite(*result.loss) || !std::isfinite(*result.gradient_norm))
    fail(data, *result.loss);
  for (const auto& [name, value] : sums.auxiliary) result.auxiliary[name] = value.item<double>();
  clip(*result.gradient_norm);
  optimizer_->update(slots_, result.learning_rate, data.step);
  forget_gradients();
  return result;
}

void Learner::check_finite(int64_t step) const {
  std::vector<at::Tensor> values;
  for (const Slot& slot : slots_) values.push_back(slot.parameter.detach());
  const at::Tensor largest =
      at::stack(at::_foreach_norm(values, std::numeric_limits<double>::infinity()));
  if (at::isfinite(largest).all().item<bool>()) return;
  throw NotFinite("step " + std::to_string(step) + " spoiled the model. " +
                  first_not_finite(recipe_.model, slots_, [](Probe&) {}));
}

ModelSpan Learner::span_of(const StepData::Part& part, Probe& probe) {
  dropout_.first_sample = part.first_sample;
  ModelSpan span = part.batch.span();
  span.probe = &probe;
  span.dropout = &dropout_;
  return span;
}

void Learner::add_part(const StepData& data, const StepData::Part& part, Sums& sums) {
  LossProbe probe;
  const at::Tensor sum = loss_sum(*model_, part.batch, span_of(part, probe));
  at::Tensor loss = sum / static_cast<double>(data.scored);
  // An auxiliary loss is a mean over the samples that it saw.
  const double share = static_cast<double>(part.samples) / static_cast<double>(data.samples());
  for (const auto& [name, value] : probe.losses) {
    loss = loss + value * share;
    add_to(sums.auxiliary[name], value * share);
  }
  add_to(sums.loss, sum);
  backward(loss);
}

// An exception of a plugin's own derivative comes out of here, without its place in the model.
void Learner::backward(const at::Tensor& loss) {
  std::string strangers;
  for (const auto& block : recipe_.model.blocks) {
    for (const BranchRecipe& branch : block) {
      const std::string& kind = branch.mixer.kind;
      const bool known = strangers.find("'" + kind + "'") != std::string::npos;
      if (kind.find('/') != std::string::npos && !known)
        strangers += (strangers.empty() ? "'" : ", '") + kind + "'";
    }
  }
  if (strangers.empty()) return loss.backward();
  try {
    loss.backward();
  } catch (const c10::Error& failure) {
    if (is_out_of_memory(failure)) throw;
    throw MixerFailed("the backward pass, through " + strangers +
                      ", failed: " + first_line(failure));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& failure) {
    throw MixerFailed("the backward pass, through " + strangers + ", failed: " + failure.what());
  }
}

void Learner::forget_gradients() {
  for (const Parameter& parameter : parameters_) parameter.storage.mutable_grad().reset();
  for (Slot& slot : slots_) slot.gradient.reset();
}

void Learner::take_gradients() {
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i].gradient = parameters_[i].gradient();
}

at::Tensor Learner::gradient_norm() const {
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.gradient.defined()) gradients.push_back(slot.gradient);
  }
  return at::stack(at::_foreach_norm(gradients, 2)).to(at::kDouble).norm();
}

void Learner::clip(double norm) {
  if (!recipe_.train.clip || norm <= *recipe_.train.clip) return;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.gradient.defined()) gradients.push_back(slot.gradient);
  }
  at::_foreach_mul_(gradients, *recipe_.train.clip / norm);
}

void Learner::fail(const StepData& data, double loss) {
  const std::string what = std::isfinite(loss) ? "the gradient is not finite"
                                               : std::string("the loss is not finite (") +
                                                     (std::isnan(loss) ? "nan" : "infinity") + ")";
  const std::string culprit = first_not_finite(recipe_.model, slots_, [&](Probe& probe) {
    for (const StepData::Part& part : data.parts) {
      if (part.batch.scored_count > 0) loss_sum(*model_, part.batch, span_of(part, probe));
    }
  });
  throw NotFinite("step " + std::to_string(data.step) + ": " + what + ". " + culprit);
}

}  // namespace echo
