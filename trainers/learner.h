#pragma once

#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/step_data.h"

#include <echo/error.h>
#include <echo/optimizer.h>
#include <echo/registry.h>
#include <echo/schedule.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// A loss or a gradient that is nan or infinite; the message names the first tensor that went wrong.
class NotFinite : public Error {
 public:
  using Error::Error;
};

struct StepResult {
  double learning_rate = 0;
  std::optional<double> loss;  // mean over the scored tokens; none: there was no such token
  std::optional<double> gradient_norm;      // before clipping
  std::map<std::string, double> auxiliary;  // losses that mixers added
};

// A model and what changes it: optimiser, schedule, clipping. One step is
//
//     loss = sum over all scored tokens of the batch / their number + auxiliary losses
//
// whatever the number of parts it runs in. Synchronises with the device once per step. Used by one
// thread.
class Learner {
 public:
  // The model has its initial values, drawn from the recipe's seed.
  Learner(const Recipe& recipe, const Registry& registry, at::Device device);

  // Forward, backward, clip, update. A batch without a scored token changes nothing. Throws
  // NotFinite; the model is then as it was before the step.
  StepResult step(const StepData& data);

  // Throws NotFinite where a parameter is not finite after step `step`.
  void check_finite(int64_t step) const;

  Model& model() { return *model_; }
  const Model& model() const { return *model_; }
  std::span<Slot> slots() { return slots_; }
  const Optimizer& optimizer() const { return *optimizer_; }

 private:
  struct Sums;
  void backward(const at::Tensor& loss);
  void add_part(const StepData& data, const StepData::Part& part, Sums& sums);
  ModelSpan span_of(const StepData::Part& part, Probe& probe);
  void forget_gradients();
  void take_gradients();
  at::Tensor gradient_norm() const;
  void clip(double norm);
  [[noreturn]] void fail(const StepData& data, double loss);

  Recipe recipe_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Schedule> schedule_;
  std::vector<Parameter> parameters_;
  std::vector<Slot> slots_;  // one per parameter, in the same order
  Dropout dropout_;
};

}  // namespace echo
