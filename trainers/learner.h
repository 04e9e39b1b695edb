#pragma once

#include "framework/src/model/model.h"
#include "framework/src/ranks/rank_stretch.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/distributed/gradient_exchange.h"
#include "trainers/distributed/ranks.h"
#include "trainers/distributed/trace.h"
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
  int64_t tokens = 0;                       // read, over all ranks
  bool stopped = false;  // a rank asked for the end: nothing was learned from this data
};

// Where a learner stands among others.
struct LearnerPlace {
  Ranks* ranks = nullptr;       // null: one process alone
  EventTrace* trace = nullptr;  // null: none
};

// A model and what changes it: optimiser, schedule, clipping. One step is
//
//     loss = sum over all scored tokens of the batch / their number + auxiliary losses
//
// whatever the number of parts and ranks it runs in. Synchronises with the device for
// the loss and for the gradient's norm.
// Used by one thread.
class Learner {
 public:
  // The model has its initial values, drawn from the recipe's seed.
  Learner(const Recipe& recipe, const Registry& registry, at::Device device,
          const LearnerPlace& place = {});

  // Forward, backward, clip, update. A batch without a scored token changes nothing. Throws
  // NotFinite; the model is then as it was before the step. All ranks call it with their share of
  // the same step's data; one that `wants_to_stop` stops all of them.
  StepResult step(const StepData& data, bool wants_to_stop = false);

  // Throws NotFinite where a parameter is not finite after step `step`.
  void check_finite(int64_t step) const;

  Model& model() { return *model_; }
  const Model& model() const { return *model_; }
  // Of the parameters whose optimizer state this rank keeps; alone, of all.
  std::span<Slot> slots() { return slots_; }
  const Optimizer& optimizer() const { return *optimizer_; }

 private:
  struct Sums;
  struct Totals;
  Totals totals(const StepData& data, bool wants_to_stop);
  void run_parts(const StepData& data, Sums& sums);
  void add_losses(const Sums& sums, StepResult& result);
  void add_auxiliary(std::map<std::string, double>& auxiliary);
  void backward(const at::Tensor& loss, const std::string& reached);
  void add_part(const StepData::Part& part, Sums& sums);
  bool has_to_run(const StepData::Part& part) const;
  ModelSpan span_of(const StepData::Part& part, Probe& probe);
  void forget_gradients();
  void take_gradients();
  double gradient_norm();
  void clip(double norm);
  [[noreturn]] void fail(const StepData& data, double loss);

  Recipe recipe_;
  LearnerPlace place_;
  Ranks alone_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Schedule> schedule_;
  std::vector<Parameter> parameters_;
  std::unique_ptr<GradientExchange> exchange_;  // null: one process alone
  std::vector<Slot> slots_;                     // one per kept parameter, in the same order
  Dropout dropout_;
  std::optional<RankStretch> stretch_;  // of the part that runs
};

}  // namespace echo
