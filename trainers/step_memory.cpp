#include "trainers/step_memory.h"

#include "framework/src/accounting/meter.h"
#include "trainers/evaluation.h"
#include "trainers/learner.h"

#include <echo/error.h>

#include <algorithm>
#include <fstream>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kTokens = 1 << 20;  // that are looked at to see how many are scored

void look_at_samples(const Task& task, Workload& workload) {
  const int64_t rows = std::min(workload.batch, std::max<int64_t>(1, kTokens / workload.length));
  const Batch batch = task.batch(Split::train, 0, rows);
  const int64_t scored = batch.labels.ne(-100).sum().item<int64_t>();
  workload.scored = static_cast<double>(scored) / static_cast<double>(batch.labels.numel());
  workload.starts = batch.starts.defined();
  workload.lengths = batch.lengths.defined();
  workload.prefix = batch.prefix.defined();
}

}  // namespace

TaskWorkload task_workload(const Recipe& recipe, const Registry& registry) {
  TaskWorkload found;
  Workload& workload = found.workload;
  workload.batch = recipe.train.batch;
  workload.parts = recipe.train.accumulation;
  try {
    const auto task = evaluation_task(recipe, registry, "task");
    workload.length = std::max<int64_t>(1, task->info().length);
    look_at_samples(*task, workload);
  } catch (const Error& mistake) {
    found.missing = mistake.what();
    const TaskPlace place{.seed = static_cast<uint64_t>(recipe.seed), .batch = workload.batch};
    const TaskInfo info = make(registry.tasks, recipe.task, place)->info();
    workload.length = std::max<int64_t>(1, info.length);
    workload.starts = info.starts;
    workload.lengths = info.lengths;
    workload.prefix = info.prefix;
  }
  return found;
}

int64_t measured_peak(const Recipe& recipe, const Registry& registry) {
  const auto task = evaluation_task(recipe, registry, "task");
  const DataPlan plan{.task = task.get(),
                      .batch = recipe.train.batch,
                      .accumulation = recipe.train.accumulation,
                      .device = at::kCPU};
  const StepData first = step_data(plan, 1), second = step_data(plan, 2);
  const Metered meter;
  Learner learner(recipe, registry, at::kCPU);
  learner.step(first);
  meter->forget_peak();
  learner.step(second);
  return meter->peak();
}

std::optional<int64_t> available_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    int64_t kilobytes = 0;
    file >> kilobytes;
    std::getline(file, unit);
    if (name == "MemAvailable:") return kilobytes * 1024;
  }
  return std::nullopt;
}

}  // namespace echo
