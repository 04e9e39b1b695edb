#include "trainers/distributed/ranked_evaluator.h"

#include "trainers/step_data.h"

#include <ATen/ATen.h>

namespace echo {

RankedEvaluator::RankedEvaluator(Model& model, int64_t batch_size, Ranks& ranks,
                                 ModelEvaluator::Progress progress)
    : model_(model), batch_size_(batch_size), ranks_(ranks), progress_(std::move(progress)) {}

// As many samples on every group of ranks as one process would take.
int64_t RankedEvaluator::batch_size() const { return batch_size_ * ranks_.shape().data; }

void RankedEvaluator::progress(int64_t done, int64_t total) {
  if (progress_) progress_(done, total);
}

Evaluator::Result RankedEvaluator::score(const Batch& batch) {
  ModelEvaluator own(model_, batch_size_);
  if (ranks_.size() == 1) return own.score(batch);
  const int64_t rows = batch.inputs.size(0), length = batch.inputs.size(1);
  const int64_t first = rows * ranks_.data_rank() / ranks_.shape().data;
  const int64_t count = rows * (ranks_.data_rank() + 1) / ranks_.shape().data - first;
  Result part{at::zeros({0, length}, at::kFloat), at::zeros({0, length}, at::kLong)};
  if (count > 0) part = own.score(rows_of(batch, first, count));
  return {gather(part.log_probability, rows, length), gather(part.prediction, rows, length)};
}

at::Tensor RankedEvaluator::gather(const at::Tensor& part, int64_t rows, int64_t length) {
  const at::Tensor whole = at::empty({rows, length}, part.options());
  Shares shares;
  const int64_t groups = ranks_.shape().data;
  for (int64_t group = 0; group < groups; ++group)
    shares.push_back((rows * (group + 1) / groups - rows * group / groups) * length);
  const int64_t first = rows * ranks_.data_rank() / groups;
  whole.narrow(0, first, part.size(0)).copy_(part);
  ranks_.world().all_gather(whole.view({-1}), shares, "scores")->wait();
  return whole;
}

}  // namespace echo
