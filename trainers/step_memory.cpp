#include "trainers/step_memory.h"

#include "framework/src/accounting/meter.h"
#include "trainers/distributed/rank_step.h"
#include "trainers/evaluation.h"
#include "trainers/learner.h"

#include <echo/error.h>

#include <algorithm>
#include <fstream>
#include <numeric>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kTokens = 1 << 20;  // that are looked at to see how many are scored

// By position, in what share of the samples it is scored.
std::vector<double> scored_shares(const at::Tensor& labels) {
  const at::Tensor shares = labels.ne(-100).to(at::kDouble).mean(0).contiguous();
  return {shares.data_ptr<double>(), shares.data_ptr<double>() + shares.numel()};
}

void look_at_samples(const Task& task, TaskWorkload& found) {
  Workload& workload = found.workload;
  const int64_t rows = std::min(workload.batch, std::max<int64_t>(1, kTokens / workload.length));
  const Batch batch = task.batch(Split::train, 0, rows);
  const at::Tensor scored = batch.labels.ne(-100);
  workload.scored =
      static_cast<double>(scored.sum().item<int64_t>()) / static_cast<double>(batch.labels.numel());
  found.scored = scored_shares(batch.labels);
  workload.starts = batch.starts.defined();
  workload.lengths = batch.lengths.defined();
  workload.prefix = batch.prefix.defined();
}

// The positions that one rank of a sequence has, and the share of them that is scored.
struct TokenPart {
  int64_t rank = 0, first = 0, count = 0;
  double scored = 1;
};

// Of `ranks` parts the one with the most scored positions.
TokenPart most_scored(const std::vector<double>& scored, int64_t ranks) {
  const auto length = static_cast<int64_t>(scored.size());
  TokenPart most{.scored = -1};
  double most_positions = -1;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const int64_t first = length * rank / ranks, end = length * (rank + 1) / ranks;
    const double positions = std::accumulate(scored.begin() + first, scored.begin() + end, 0.0);
    if (positions <= most_positions) continue;
    most_positions = positions;
    const int64_t count = end - first;
    most = {rank, first, count, count > 0 ? positions / static_cast<double>(count) : 0};
  }
  return most;
}

Batch cut(const Batch& batch, const TokenPart& part) {
  const auto own = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(1, part.first, part.count) : tensor;
  };
  return {
      own(batch.inputs),
      own(batch.labels),
      own(batch.starts),
      batch.lengths.defined() ? (batch.lengths - part.first).clamp(0, part.count) : batch.lengths,
      own(batch.prefix),
      batch.slice};
}

// A step of the rank whose part of the sequences has the most scored positions.
StepData rank_data(const DataPlan& plan, int64_t step, const Mesh& mesh) {
  StepData data = step_data(plan, step);
  if (mesh.sequence == 1) return data;
  const at::Tensor labels = data.parts.front().batch.batch.labels;
  const TokenPart part = most_scored(scored_shares(labels), mesh.sequence);
  data.scored = data.tokens = 0;
  for (StepData::Part& one : data.parts) {
    one.batch = place(cut(one.batch.batch, part), plan.device);
    data.scored += one.batch.scored_count;
    data.tokens += one.samples * part.count;
  }
  return data;
}

// The most bytes that the second of two steps holds, with all that `make` has made.
template <class Make, class Step>
int64_t second_step_peak(const Make& make, const Step& step, const StepData& first,
                         const StepData& second) {
  const Metered meter;
  const auto trained = make();
  step(*trained, first);
  meter->forget_peak();
  step(*trained, second);
  return meter->peak();
}

}  // namespace

Workload TaskWorkload::of_rank(const Mesh& mesh) const {
  Workload share = workload;
  share.batch = (workload.batch + mesh.data - 1) / mesh.data;
  share.length = (workload.length + mesh.sequence - 1) / mesh.sequence;
  share.ranks = mesh.ranks();
  share.sequence = mesh.sequence;
  share.shares_state = mesh.zero > 0;
  if (mesh.sequence > 1 && !scored.empty()) {
    share.scored = most_scored(scored, mesh.sequence).scored;
  }
  return share;
}

TaskWorkload task_workload(const Recipe& recipe, const Registry& registry) {
  TaskWorkload found;
  Workload& workload = found.workload;
  workload.batch = recipe.train.batch;
  workload.parts = recipe.train.accumulation;
  try {
    const auto task = evaluation_task(recipe, registry, "task");
    workload.length = std::max<int64_t>(1, task->info().length);
    look_at_samples(*task, found);
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

int64_t measured_peak(const Recipe& recipe, const Registry& registry, const Mesh& mesh) {
  const auto task = evaluation_task(recipe, registry, "task");
  const DataPlan plan{.task = task.get(),
                      .batch = (recipe.train.batch + mesh.data - 1) / mesh.data,
                      .accumulation = recipe.train.accumulation,
                      .device = at::kCPU};
  const StepData first = rank_data(plan, 1, mesh), second = rank_data(plan, 2, mesh);
  if (mesh.ranks() > 1) {
    return second_step_peak(
        [&] { return std::make_unique<RankStep>(recipe, registry, mesh, at::kCPU); },
        [](RankStep& rank, const StepData& data) { rank.run(data); }, first, second);
  }
  return second_step_peak([&] { return std::make_unique<Learner>(recipe, registry, at::kCPU); },
                          [](Learner& learner, const StepData& data) { learner.step(data); }, first,
                          second);
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
