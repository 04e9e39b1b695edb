#pragma once

#include "framework/src/ranks/communicator.h"

#include <echo/module.h>
#include <echo/optimizer.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace echo {

// Whether every rank keeps all of the optimizer's state, or that of its own parameters (ZeRO-1).
enum class OptimizerState { whole, shared };

// Adds up the gradients of all ranks, in buckets: as soon as the backward pass has finished the
// last gradient of a bucket, its sum is under way, in the same order on all ranks. The gradients
// that slots get are views of the buckets. Owned by the learner; used by its thread, and by the
// thread that runs the backward pass while the learner waits for it.
class GradientExchange {
 public:
  GradientExchange(const std::vector<Parameter>& parameters, Communicator& ranks,
                   OptimizerState state);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  // Whose optimizer state this rank keeps, as indices into the parameters, rising.
  const std::vector<size_t>& kept() const { return kept_; }

  // The next backward pass is the step's last: its gradients go out.
  void open();
  // Waits for the sums. slots[i] gets the gradient of parameter kept()[i]; undefined where no rank
  // had one. Leaves of the model have no gradients any more.
  void close(std::span<Slot> slots);
  // After an update of the kept parameters: all ranks get all parameters.
  void share_parameters();

 private:
  struct Piece;
  struct Bucket;
  class Hook;

  void make_buckets(const std::vector<int64_t>& owner);
  void gradient_is_ready(size_t bucket);
  void send_ready();
  void send(Bucket& bucket);

  std::vector<Parameter> parameters_;
  Communicator& ranks_;
  OptimizerState state_;
  std::vector<size_t> kept_;
  std::vector<Bucket> buckets_;
  std::vector<at::Tensor> leaves_;  // with a hook
  size_t sent_ = 0;                 // buckets, in this step
  bool open_ = false;
};

}  // namespace echo
