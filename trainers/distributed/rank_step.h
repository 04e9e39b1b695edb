#pragma once

#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/distributed/mesh.h"
#include "trainers/step_data.h"

#include <echo/optimizer.h>
#include <echo/registry.h>

#include <memory>
#include <optional>
#include <vector>

namespace echo {

// The training steps of one rank of several, in a process alone: it holds what it would hold among
// the others, and computes with its own sums in the place of theirs. For measuring; used by one
// thread. Of the ranks it is the one that keeps the most of the optimiser's state.
class RankStep {
 public:
  RankStep(const Recipe& recipe, const Registry& registry, const Mesh& mesh, at::Device device);

  void run(const StepData& data);

 private:
  void add_part(const StepData& data, const StepData::Part& part);
  void take_gradients();

  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<double> clip_;
  std::vector<Parameter> parameters_;
  std::vector<at::Tensor> buckets_;  // flat
  std::vector<at::Tensor> places_;   // of every parameter's gradient, in its bucket
  std::vector<size_t> kept_;         // parameters
  std::vector<Slot> slots_;          // one per kept parameter
  Dropout dropout_;
};

}  // namespace echo
