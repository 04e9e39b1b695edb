#pragma once

#include "framework/src/model/scoring.h"
#include "trainers/distributed/ranks.h"

namespace echo {

// Scores batches with all ranks: each scores its share of the rows and of their tokens, and all get
// all of the result. So a task's evaluate() runs alike on every rank and knows nothing of the
// others.
class RankedEvaluator final : public Evaluator {
 public:
  RankedEvaluator(Model& model, int64_t batch_size, Ranks& ranks,
                  ModelEvaluator::Progress progress = {});

  int64_t batch_size() const override;
  Result score(const Batch& batch) override;
  void progress(int64_t done, int64_t total) override;

 private:
  Result score_share(const Batch& rows);
  at::Tensor gather(const at::Tensor& share, int64_t rows, int64_t length);

  Model& model_;
  int64_t batch_size_;
  Ranks& ranks_;
  ModelEvaluator::Progress progress_;
};

}  // namespace echo
