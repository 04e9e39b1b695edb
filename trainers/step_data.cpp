#include "trainers/step_data.h"

#include <ATen/ATen.h>
#include <c10/util/ParallelGuard.h>

namespace echo {

namespace {

constexpr size_t kAhead = 2;

at::Tensor rows_of(const at::Tensor& tensor, int64_t first, int64_t count) {
  return tensor.defined() ? tensor.narrow(0, first, count) : tensor;
}

PlacedBatch placed_share(const DataPlan& plan, const Batch& rows) {
  if (plan.sequence_ranks == 1) return place(rows, plan.device);
  return place_part(rows, plan.sequence_rank, plan.sequence_ranks, plan.device);
}

}  // namespace

Batch rows_of(const Batch& batch, int64_t first, int64_t count) {
  return {rows_of(batch.inputs, first, count), rows_of(batch.labels, first, count),
          rows_of(batch.starts, first, count), rows_of(batch.lengths, first, count),
          rows_of(batch.prefix, first, count), rows_of(batch.slice, first, count)};
}

StepData step_data(const DataPlan& plan, int64_t step) {
  StepData data;
  data.step = step;
  const int64_t begin = plan.batch * plan.rank / plan.ranks;
  const int64_t end = plan.batch * (plan.rank + 1) / plan.ranks;
  const int64_t first_sample = (step - 1) * plan.batch + begin;
  const Batch whole = plan.task->batch(Split::train, first_sample, end - begin);
  const int64_t rows = whole.inputs.size(0);
  const int64_t parts = std::min(plan.accumulation, rows);
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = rows * part / parts;
    const int64_t count = rows * (part + 1) / parts - first;
    StepData::Part made{placed_share(plan, rows_of(whole, first, count)), first_sample + first};
    made.share = static_cast<double>(made.batch.batch.inputs.numel()) /
                 static_cast<double>(plan.batch * whole.inputs.size(1));
    data.scored += made.batch.scored_count;
    for (const int64_t length : made.batch.offsets.lengths) data.tokens += length;
    data.parts.push_back(std::move(made));
  }
  return data;
}

Prefetch::Prefetch(const DataPlan& plan, int64_t first, int64_t last)
    : plan_(plan), thread_([this, first, last] { work(first, last); }) {}

Prefetch::~Prefetch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetch::work(int64_t first, int64_t last) {
  const c10::ParallelGuard serial(true);  // no second pool of threads beside the trainer's
  try {
    for (int64_t step = first; step <= last; ++step) {
      StepData data = step_data(plan_, step);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || ready_.size() < kAhead; });
      if (stopping_) return;
      ready_.push_back(std::move(data));
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

StepData Prefetch::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  StepData data = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return data;
}

}  // namespace echo
