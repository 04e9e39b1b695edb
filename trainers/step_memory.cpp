#include "trainers/step_memory.h"

#include "framework/src/accounting/meter.h"
#include "framework/src/ranks/ownership.h"
#include "trainers/distributed/ranks.h"
#include "trainers/distributed/single_rank.h"
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

// The rank that is measured: with the most rows, tokens that are scored, and state of the optimiser
// among those.
int64_t measured_rank(const Recipe& recipe, const Registry& registry, const Mesh& mesh,
                      int64_t sequence_rank) {
  std::vector<int64_t> sizes;
  const Model model(recipe.model, registry, at::TensorOptions().dtype(at::kFloat).device(at::kMeta),
                    at::kFloat);
  for (const Parameter& parameter : model.parameters()) sizes.push_back(parameter.numel());
  const std::vector<int64_t> owned = owned_sizes(sizes, mesh.ranks());
  int64_t most = sequence_rank;
  for (int64_t rank = sequence_rank; rank < mesh.ranks(); rank += mesh.sequence) {
    if (owned[static_cast<size_t>(rank)] > owned[static_cast<size_t>(most)]) most = rank;
  }
  return most;
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
  const TaskWorkload found = task_workload(recipe, registry);
  const auto task = evaluation_task(recipe, registry, "task");
  const DataPlan plan{.task = task.get(),
                      .batch = recipe.train.batch,
                      .accumulation = recipe.train.accumulation,
                      .device = at::kCPU,
                      .rank = mesh.data - 1,  // the last group has the most rows
                      .ranks = mesh.data,
                      .sequence_rank = most_scored(found.scored, mesh.sequence).rank,
                      .sequence_ranks = mesh.sequence};
  const StepData first = step_data(plan, 1), second = step_data(plan, 2);
  Ranks ranks(lone_rank(measured_rank(recipe, registry, mesh, plan.sequence_rank), mesh.ranks(),
                        mesh.sequence));
  ranks.arrange({.data = mesh.data, .sequence = mesh.sequence});
  const Metered meter;
  Learner learner(recipe, registry, at::kCPU, {.ranks = &ranks});
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
