#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

// One parameter as an optimiser sees it. All tensors share memory with the model; `state` is saved
// in checkpoints.
struct Slot {
  std::string name;
  at::Tensor parameter;
  at::Tensor gradient;
  bool decay = true;
  std::map<std::string, at::Tensor> state;  // empty before the first update
};

// Changes parameters in place, deterministically on the CPU.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual double peak_rate() const = 0;  // the recipe's learning rate, which the schedule scales
  virtual void update(std::span<Slot> slots, double rate, int64_t step) = 0;  // step counts from 1
  // Names of the state tensors that update() makes per parameter; each has the parameter's shape.
  virtual std::vector<std::string> state_names() const = 0;
};

}  // namespace echo
