#pragma once

#include "framework/src/model/model.h"
#include "framework/src/ranks/rank_stretch.h"

#include <echo/task.h>

#include <functional>

namespace echo {

// A batch on the model's device, with what the host has to know of it.
struct PlacedBatch {
  Batch batch;
  Offsets offsets;
  at::Tensor scored;   // (N) int64: flat indices b T + t of the scored positions, on the device
  at::Tensor targets;  // (N) int64: their labels
  int64_t scored_count = 0;
  SequencePart part;  // of the sequences, for a RankStretch; set by place_part

  ModelSpan span() const;
};
PlacedBatch place(const Batch& batch, at::Device device);

// The part of a whole batch that one of `ranks` ranks reads: of T tokens [T r / n, T (r + 1) / n).
// Labels, starts and lengths are cut with the inputs; the span lacks the stretch. Throws Error
// where there are fewer tokens than ranks.
PlacedBatch place_part(const Batch& whole, int64_t rank, int64_t ranks, at::Device device);

// Sum of the natural-log losses over the scored positions, float32 scalar; logits are formed for
// those only.
at::Tensor loss_sum(Model& model, const PlacedBatch& batch, const ModelSpan& span);

// What a model gives to the labels of a batch, without gradients.
Evaluator::Result score(Model& model, const PlacedBatch& batch, const ModelSpan& span);

// Scores batches for Task::evaluate.
class ModelEvaluator final : public Evaluator {
 public:
  using Progress = std::function<void(int64_t done, int64_t total)>;
  ModelEvaluator(Model& model, int64_t batch_size, Progress progress = {});

  int64_t batch_size() const override { return batch_size_; }
  Result score(const Batch& batch) override;
  void progress(int64_t done, int64_t total) override;

 private:
  Model& model_;
  int64_t batch_size_;
  Progress progress_;
};

}  // namespace echo
