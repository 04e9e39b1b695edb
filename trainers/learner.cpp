#include "trainers/learner.h"

#include "framework/src/model/branch.h"
#include "framework/src/out_of_memory.h"
#include "trainers/not_finite.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

namespace echo {

namespace {

at::ScalarType activations(Precision precision) {
  return precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

// Takes auxiliary losses, and keeps the last mixer, "blocks.0.1.mixer", whose output the backward
// pass has reached; what mixers report besides is left to others.
class StepProbe final : public Probe {
 public:
  void record(const std::string& name, const at::Tensor& value) override {
    if (!value.requires_grad() || !is_mixer(name)) return;
    value.register_hook([reached = reached, name](const at::Tensor&) { *reached = name; });
  }
  void loss(const std::string& name, const at::Tensor& scalar) override {
    at::Tensor& sum = losses[name];
    sum = sum.defined() ? sum + scalar : scalar;
  }
  std::map<std::string, at::Tensor> losses;
  std::shared_ptr<std::string> reached = std::make_shared<std::string>();

 private:
  static bool is_mixer(const std::string& name) {
    return name.starts_with("blocks.") && name.ends_with(".mixer");
  }
};

void add_to(at::Tensor& sum, const at::Tensor& value) {
  const at::Tensor wide = value.detach().to(at::kDouble);
  sum = sum.defined() ? sum + wide : wide;
}

}  // namespace

// What the parts of a step add up to, on this rank.
struct Learner::Sums {
  double scored = 0;  // positions of the whole step, over all ranks
  at::Tensor loss;
  std::map<std::string, at::Tensor> auxiliary;
};

// What all ranks' data add up to.
struct Learner::Totals {
  int64_t scored = 0;
  int64_t tokens = 0;
  bool stopped = false;
};

Learner::Learner(const Recipe& recipe, const Registry& registry, at::Device device,
                 const LearnerPlace& place)
    : recipe_(recipe),
      place_(place),
      model_(std::make_unique<Model>(recipe.model, registry,
                                     at::TensorOptions().dtype(at::kFloat).device(device),
                                     activations(recipe.train.precision))),
      optimizer_(make(registry.optimizers, recipe.train.optimizer, OptimizerPlace{})),
      schedule_(make(registry.schedules, recipe.train.schedule,
                     SchedulePlace{.steps = recipe.train.steps.value()})) {
  initialize(*model_, static_cast<uint64_t>(recipe.seed));
  parameters_ = model_->parameters();
  if (!place_.ranks) place_.ranks = &alone_;
  std::vector<size_t> kept(parameters_.size());
  std::iota(kept.begin(), kept.end(), size_t{0});
  if (place_.ranks->size() > 1) {
    exchange_ = std::make_unique<GradientExchange>(
        parameters_, place_.ranks->world(),
        recipe.parallel.zero > 0 ? OptimizerState::shared : OptimizerState::whole);
    kept = exchange_->kept();
  }
  for (const size_t index : kept) {
    const Parameter& parameter = parameters_[index];
    slots_.push_back({.name = parameter.name,
                      .parameter = parameter.value(),
                      .gradient = {},
                      .decay = parameter.options.decay,
                      .state = {}});
  }
  dropout_.seed = static_cast<uint64_t>(recipe.seed);
}

StepResult Learner::step(const StepData& data, bool wants_to_stop) {
  StepResult result;
  result.learning_rate = optimizer_->peak_rate() * schedule_->factor(data.step);
  const Totals all = totals(data, wants_to_stop);
  result.tokens = all.tokens;
  result.stopped = all.stopped;
  if (all.stopped || all.scored == 0) return result;
  forget_gradients();
  Sums sums{.scored = static_cast<double>(all.scored)};
  run_parts(data, sums);
  take_gradients();
  add_losses(sums, result);
  const double norm = gradient_norm();
  result.gradient_norm = norm;
  if (!std::isfinite(*result.loss) || !std::isfinite(norm)) fail(data, *result.loss);
  clip(norm);
  {
    const TraceSpan span(place_.trace, "update");
    optimizer_->update(slots_, result.learning_rate, data.step);
    if (exchange_) exchange_->share_parameters();
  }
  forget_gradients();
  return result;
}

// One small sum ahead of the step: the loss is a mean over the scored positions of all ranks, and
// all of them stop at the same step.
Learner::Totals Learner::totals(const StepData& data, bool wants_to_stop) {
  if (!exchange_) return {data.scored, data.tokens, wants_to_stop};
  const at::Tensor counts =
      at::tensor({data.scored, data.tokens, static_cast<int64_t>(wants_to_stop)},
                 at::TensorOptions(at::kLong));
  Communicator& world = place_.ranks->world();
  world.all_reduce(counts, "counts of step " + std::to_string(data.step))->wait();
  const int64_t* values = counts.data_ptr<int64_t>();
  return {values[0], values[1], values[2] > 0};
}

// Gradients go out during the backward pass of the last part that has any.
void Learner::run_parts(const StepData& data, Sums& sums) {
  const StepData::Part* last = nullptr;
  for (const StepData::Part& part : data.parts) {
    if (has_to_run(part)) last = &part;
  }
  for (const StepData::Part& part : data.parts) {
    if (&part == last && exchange_) exchange_->open();
    if (has_to_run(part)) add_part(part, sums);
  }
  if (!last && exchange_) exchange_->open();
}

void Learner::add_losses(const Sums& sums, StepResult& result) {
  const at::Tensor loss = sums.loss.defined() ? sums.loss.to(at::kCPU) : at::zeros({}, at::kDouble);
  for (const auto& [name, value] : sums.auxiliary) result.auxiliary[name] = value.item<double>();
  if (exchange_) {
    const at::Tensor facts = at::tensor({loss.item<double>(), sums.auxiliary.empty() ? 0.0 : 1.0},
                                        at::TensorOptions(at::kDouble));
    place_.ranks->world().all_reduce(facts, "the loss")->wait();
    loss.copy_(facts[0]);
    if (facts[1].item<double>() > 0) add_auxiliary(result.auxiliary);
  }
  result.loss = loss.item<double>() / sums.scored;
}

// Mixers of some ranks may have added losses that those of others, without a sample, have not.
void Learner::add_auxiliary(std::map<std::string, double>& auxiliary) {
  const std::string own = nlohmann::json(auxiliary).dump();
  auxiliary.clear();
  for (const std::string& text : place_.ranks->gather(own, "auxiliary losses")) {
    const std::map<std::string, double> values = nlohmann::json::parse(text);
    for (const auto& [name, value] : values) auxiliary[name] += value;
  }
}

void Learner::check_finite(int64_t step) const {
  std::vector<at::Tensor> values;
  for (const Parameter& parameter : parameters_) values.push_back(parameter.value().detach());
  const at::Tensor largest =
      at::stack(at::_foreach_norm(values, std::numeric_limits<double>::infinity()));
  if (at::isfinite(largest).all().item<bool>()) return;
  throw NotFinite("step " + std::to_string(step) + " spoiled the model. " +
                  first_not_finite(recipe_.model, slots_, [](Probe&) {}));
}

// The other parts of a sequence may be scored where this one is not, and read what it gives.
bool Learner::has_to_run(const StepData::Part& part) const {
  return part.batch.scored_count > 0 || place_.ranks->sequence();
}

ModelSpan Learner::span_of(const StepData::Part& part, Probe& probe) {
  dropout_.first_sample = part.first_sample;
  ModelSpan span = part.batch.span();
  span.probe = &probe;
  span.dropout = &dropout_;
  if (Communicator* sequence = place_.ranks->sequence()) {
    stretch_.emplace(*sequence, part.batch.part);
    span.stretch = &*stretch_;
  }
  return span;
}

void Learner::add_part(const StepData::Part& part, Sums& sums) {
  StepProbe probe;
  at::Tensor loss;
  {
    const TraceSpan span(place_.trace, "forward");
    const at::Tensor sum = loss_sum(*model_, part.batch, span_of(part, probe));
    loss = sum / sums.scored;
    // An auxiliary loss is a mean over the samples that it saw.
    for (const auto& [name, value] : probe.losses) {
      loss = loss + value * part.share;
      add_to(sums.auxiliary[name], value * part.share);
    }
    add_to(sums.loss, sum);
  }
  const TraceSpan span(place_.trace, "backward");
  backward(loss, *probe.reached);
}

// An exception of a plugin's own derivative comes out of here. The mixer whose output was reached
// last has not let it pass on.
void Learner::backward(const at::Tensor& loss, const std::string& reached) {
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
  const auto fail = [&](const std::string& reason) {
    throw MixerFailed((reached.empty() ? "the backward pass, through " + strangers + ","
                                       : "the derivative of " + with_kind(recipe_.model, reached)) +
                      " failed: " + reason);
  };
  try {
    loss.backward();
  } catch (const c10::Error& failure) {
    if (is_out_of_memory(failure)) throw;
    fail(first_line(failure));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& failure) {
    fail(failure.what());
  }
}

void Learner::forget_gradients() {
  for (const Parameter& parameter : parameters_) parameter.storage.mutable_grad().reset();
  for (Slot& slot : slots_) slot.gradient.reset();
}

void Learner::take_gradients() {
  if (exchange_) {
    const TraceSpan span(place_.trace, "wait for gradients");
    return exchange_->close(slots_);
  }
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i].gradient = parameters_[i].gradient();
}

// L2 norm over all parameters. Ranks that keep different ones add up their squares.
double Learner::gradient_norm() {
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.gradient.defined()) gradients.push_back(slot.gradient);
  }
  const at::Tensor norm = gradients.empty()
                              ? at::zeros({}, at::kDouble)
                              : at::stack(at::_foreach_norm(gradients, 2)).to(at::kDouble).norm();
  if (!exchange_ || recipe_.parallel.zero == 0) return norm.item<double>();
  const at::Tensor squares = norm.to(at::kCPU).square();
  place_.ranks->world().all_reduce(squares, "the gradient's norm")->wait();
  return std::sqrt(squares.item<double>());
}

void Learner::clip(double norm) {
  if (!recipe_.train.clip || norm <= *recipe_.train.clip) return;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.gradient.defined()) gradients.push_back(slot.gradient);
  }
  if (!gradients.empty()) at::_foreach_mul_(gradients, *recipe_.train.clip / norm);
}

void Learner::fail(const StepData& data, double loss) {
  const std::string what = std::isfinite(loss) ? "the gradient is not finite"
                                               : std::string("the loss is not finite (") +
                                                     (std::isnan(loss) ? "nan" : "infinity") + ")";
  const std::string own = first_not_finite(recipe_.model, slots_, [&](Probe& probe) {
    for (const StepData::Part& part : data.parts) {
      if (has_to_run(part)) loss_sum(*model_, part.batch, span_of(part, probe));
    }
  });
  const std::vector<std::string> found = place_.ranks->gather(own, "what is not finite");
  const auto one = std::find_if(found.begin(), found.end(), says_which_tensor);
  const std::string& culprit = one == found.end() ? found.front() : *one;
  throw NotFinite("step " + std::to_string(data.step) + ": " + what + ". " + culprit);
}

}  // namespace echo
