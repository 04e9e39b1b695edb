#pragma once

#include "framework/src/model/scoring.h"

#include <echo/task.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace echo {

// How the samples of a run are dealt out to its steps, and of each step to the ranks.
struct DataPlan {
  const Task* task = nullptr;
  int64_t batch = 1;         // samples of one step, over all ranks
  int64_t accumulation = 1;  // parts that run one after another
  at::Device device = at::kCPU;
  int64_t rank = 0, ranks = 1;                    // that share the samples
  int64_t sequence_rank = 0, sequence_ranks = 1;  // that share every sample's tokens
};

// This rank's share of the samples [(step - 1) * batch, step * batch) of one step, in parts.
struct StepData {
  struct Part {
    PlacedBatch batch;
    int64_t first_sample = 0;
    double share = 1;  // of the step's tokens, as many as its samples and its stretch of them have
  };
  int64_t step = 0;
  std::vector<Part> parts;
  int64_t scored = 0;  // positions, over all parts
  int64_t tokens = 0;  // valid ones, over all parts
};

Batch rows_of(const Batch& batch, int64_t first, int64_t count);

// A pure function of the plan and the step.
StepData step_data(const DataPlan& plan, int64_t step);

// Makes the data of the steps [first, last] in order, on one thread of its own, two steps ahead.
class Prefetch {
 public:
  Prefetch(const DataPlan& plan, int64_t first, int64_t last);
  ~Prefetch();
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  StepData next();  // rethrows what went wrong on the thread

 private:
  void work(int64_t first, int64_t last);

  DataPlan plan_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepData> ready_;
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace echo
