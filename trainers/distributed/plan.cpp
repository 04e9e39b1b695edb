#include "trainers/distributed/plan.h"

#include "framework/src/ranks/buckets.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr double kStart = 20e-6;    // seconds until an operation between ranks is under way
constexpr double kPasses = 3;       // a step computes so many forward passes: backward is two
constexpr int64_t kMostTimes = 64;  // so many times the ranks are tried as a remedy
constexpr int64_t kMostRanks = int64_t{1} << 16;

at::ScalarType activations(const Recipe& recipe) {
  return recipe.train.precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

Model meta_model(const Recipe& recipe, const Registry& registry) {
  return {recipe.model, registry, at::TensorOptions().dtype(at::kFloat).device(at::kMeta),
          activations(recipe)};
}

// As Communicator counts: an all_reduce has two rounds, reduce_scatter and all_gather one.
int64_t ring(int64_t bytes, int64_t rounds, int64_t ranks) {
  return rounds * bytes * (ranks - 1) / ranks;
}

std::vector<int64_t> bucket_bytes(const Model& model) {
  const std::vector<Parameter> parameters = model.parameters();
  std::vector<int64_t> bytes;
  for (const std::vector<size_t>& bucket : gradient_buckets(parameters)) {
    bytes.push_back(0);
    for (const size_t i : bucket) {
      bytes.back() += bucket_elements(parameters[i]) *
                      static_cast<int64_t>(parameters[i].storage.element_size());
    }
  }
  return bytes;
}

// What Learner adds up over the ranks, as (elements of eight bytes): positions, tokens and the wish
// to stop; loss and auxiliary losses; with ZeRO-1 the square of the gradient's norm.
std::vector<int64_t> control_sums(const Mesh& mesh) {
  std::vector<int64_t> sums = {3, 2};
  if (mesh.zero > 0) sums.push_back(1);
  return sums;
}

PlannedTraffic traffic_of(const Model& model, const std::vector<ExchangeCost>& exchanges,
                          const Workload& rank, const Mesh& mesh) {
  PlannedTraffic traffic;
  const int64_t ranks = mesh.ranks();
  for (const int64_t bytes : bucket_bytes(model)) {
    traffic.gradients += ring(bytes, mesh.zero > 0 ? 1 : 2, ranks);
    if (mesh.zero > 0) traffic.parameters += ring(bytes, 1, ranks);
  }
  for (const int64_t elements : control_sums(mesh))
    traffic.control += ring(elements * static_cast<int64_t>(sizeof(int64_t)), 2, ranks);
  if (mesh.sequence == 1) return traffic;
  for (const ExchangeCost& exchange : exchanges) {
    // Forward and backward, to each of the others.
    traffic.sequence += 2 * (mesh.sequence - 1) * rank.batch * exchange.bytes(rank.length);
  }
  return traffic;
}

std::vector<ExchangeCost> exchanges_of(const Recipe& recipe, const Registry& registry) {
  std::vector<ExchangeCost> exchanges;
  Place place{.width = recipe.model.width,
              .layers = static_cast<int64_t>(recipe.model.blocks.size())};
  for (const auto& block : recipe.model.blocks) {
    for (const BranchRecipe& branch : block)
      exchanges.push_back(
          exchange_cost(branch, recipe.model, registry, place, activations(recipe)));
    ++place.layer;
  }
  return exchanges;
}

double bandwidth(const Machine& machine, int64_t ranks) {
  // Ranks of a sequence stand next to each other: they share a node where they divide it.
  const bool one_node =
      ranks == machine.ranks ? ranks <= machine.node_ranks : machine.node_ranks % ranks == 0;
  return one_node ? machine.node_bandwidth : machine.bandwidth;
}

double seconds(int64_t bytes, int64_t operations, double bandwidth) {
  return static_cast<double>(bytes) / bandwidth + static_cast<double>(operations) * kStart;
}

Limit limit_of(const MeshPlan& plan) {
  if (!plan.fits) return Limit::memory;
  const double most = std::max({plan.time.work, plan.time.idle, plan.time.communication()});
  if (most == plan.time.work) return Limit::compute;
  return most == plan.time.idle ? Limit::batch : Limit::bandwidth;
}

std::vector<Mesh> meshes_of(int64_t ranks) {
  std::vector<Mesh> meshes;
  for (int64_t sequence = 1; sequence <= ranks; ++sequence) {
    if (ranks % sequence == 0) meshes.push_back({.data = ranks / sequence, .sequence = sequence});
  }
  return meshes;
}

std::vector<Mesh> with_and_without_zero(const Mesh& mesh) {
  Mesh zero = mesh;
  zero.zero = 1;
  return mesh.ranks() == 1 ? std::vector<Mesh>{mesh} : std::vector<Mesh>{mesh, zero};
}

bool comes_first(const MeshPlan& a, const MeshPlan& b) {
  if (a.fits != b.fits) return a.fits;
  return a.fits ? a.time.total() < b.time.total() : a.memory.peak < b.memory.peak;
}

}  // namespace

PlannedTraffic planned_traffic(const Recipe& recipe, const Registry& registry, const Mesh& mesh) {
  const Workload rank = task_workload(recipe, registry).of_rank(mesh);
  return traffic_of(meta_model(recipe, registry), exchanges_of(recipe, registry), rank, mesh);
}

const char* limit_name(Limit limit) {
  switch (limit) {
    case Limit::bandwidth:
      return "bandwidth";
    case Limit::memory:
      return "memory";
    case Limit::batch:
      return "batch";
    default:
      return "compute";
  }
}

const MeshPlan* Plan::best() const {
  return !meshes.empty() && meshes.front().fits ? &meshes.front() : nullptr;
}

const MeshPlan* Plan::nearest() const {
  const auto found =
      std::find_if(meshes.begin(), meshes.end(), [](const MeshPlan& mesh) { return !mesh.fits; });
  return found == meshes.end() ? nullptr : &*found;
}

namespace {

TaskWorkload of_any_size(TaskWorkload task) {
  task.workload.varies = true;
  return task;
}

}  // namespace

Planner::Planner(const Recipe& recipe, const Registry& registry)
    : recipe_(recipe),
      task_(of_any_size(task_workload(recipe, registry))),
      model_(recipe.model, registry, at::TensorOptions().dtype(at::kFloat).device(at::kMeta),
             activations(recipe)),
      account_(recipe, registry, task_.workload),
      exchanges_(account_.exchanges()) {}

std::optional<std::string> Planner::obstacle(const Mesh& mesh) const {
  const Workload& step = task_.workload;
  if (const auto reason = echo::obstacle(mesh, step.batch, step.length)) return reason;
  for (const Branch* branch : model_.branches()) {
    if (mesh.sequence > 1 && !shares_sequences(branch->mixer()))
      return "the mixer of " + branch->name() + " cannot share a sequence";
  }
  return std::nullopt;
}

Plan Planner::plan(const Machine& machine) const {
  Plan plan;
  for (const Mesh& shape : meshes_of(machine.ranks)) {
    if (const std::optional<std::string> reason = obstacle(shape)) {
      plan.impossible.push_back({shape, *reason});
      continue;
    }
    for (const Mesh& mesh : with_and_without_zero(shape))
      plan.meshes.push_back(this->plan(mesh, machine));
  }
  std::stable_sort(plan.meshes.begin(), plan.meshes.end(), comes_first);
  return plan;
}

MeshPlan Planner::plan(const Mesh& mesh, const Machine& machine) const {
  MeshPlan plan{.mesh = mesh,
                .memory = memory(mesh),
                .traffic = traffic_of(model_, exchanges_, task_.of_rank(mesh), mesh),
                .time = time(mesh, machine)};
  plan.fits = plan.memory.peak <= machine.memory;
  plan.limit = limit_of(plan);
  return plan;
}

PlannedMemory Planner::memory(const Mesh& mesh) const {
  const Workload rank = task_.of_rank(mesh);
  const LayerAccount total = sum(account_.layers(rank, rank.length));
  return {.parameters = total.parameters,
          .gradients = total.gradients,
          .buckets = total.buckets,
          .optimizer = total.optimizer,
          .activations = total.activations,
          .peak = account_.peak(rank)};
}

// Of the rank with the last part of its sequences, where attention has most to read; forward.
double Planner::flops(const Mesh& mesh) const {
  const Workload rank = task_.of_rank(mesh);
  const int64_t before = task_.workload.length - rank.length;
  double sum = 0;
  for (const Branch* branch : model_.branches()) {
    const Mixer& mixer = branch->mixer();
    const int64_t whole = mixer.flops(rank.batch, task_.workload.length);
    sum += static_cast<double>(before > 0 ? whole - mixer.flops(rank.batch, before) : whole);
  }
  const double scored = rank.scored * static_cast<double>(rank.batch * rank.length);
  return sum + 2 * scored * static_cast<double>(recipe_.model.width * recipe_.model.vocabulary);
}

PlannedTime Planner::time(const Mesh& mesh, const Machine& machine) const {
  const double rate = machine.flops * machine.efficiency;
  const double compute = kPasses * flops(mesh) / rate;
  PlannedTime time;
  time.work = std::min(compute, kPasses * flops({}) / rate / static_cast<double>(mesh.ranks()));
  time.idle = compute - time.work;
  if (mesh.ranks() == 1) return time;

  const Workload rank = task_.of_rank(mesh);
  const PlannedTraffic traffic = traffic_of(model_, exchanges_, rank, mesh);
  const double between = bandwidth(machine, mesh.ranks());
  const auto buckets = static_cast<int64_t>(bucket_bytes(model_).size());
  // Only the last part's backward pass has finished gradients to send.
  const double hidden = compute * (kPasses - 1) / kPasses / static_cast<double>(rank.turns());
  time.gradients = std::max(0.0, seconds(traffic.gradients, buckets, between) - hidden);
  time.parameters = seconds(traffic.parameters, mesh.zero > 0 ? buckets : 0, between);
  time.control = seconds(traffic.control, static_cast<int64_t>(control_sums(mesh).size()), between);
  if (mesh.sequence > 1) {
    int64_t operations = 0;
    for (const ExchangeCost& exchange : exchanges_) operations += exchange.operations;
    time.sequence =
        seconds(traffic.sequence, 2 * operations * rank.turns(), bandwidth(machine, mesh.sequence));
  }
  return time;
}

bool Planner::any_fits(const Machine& machine, int64_t parts) const {
  for (const Mesh& shape : meshes_of(machine.ranks)) {
    if (obstacle(shape)) continue;
    for (const Mesh& mesh : with_and_without_zero(shape)) {
      Workload rank = task_.of_rank(mesh);
      rank.parts = parts;
      if (account_.peak(rank) <= machine.memory) return true;
    }
  }
  return false;
}

Remedies Planner::remedies(const Machine& machine) const {
  Remedies found;
  const Workload& step = task_.workload;
  for (int64_t parts = step.parts + 1; parts <= step.batch && !found.accumulation; ++parts) {
    if (step.batch % parts == 0 && any_fits(machine, parts)) found.accumulation = parts;
  }
  for (int64_t times = 2; times <= kMostTimes && !found.ranks; times *= 2) {
    Machine larger = machine;
    larger.ranks *= times;
    if (larger.ranks > kMostRanks) break;
    if (any_fits(larger, step.parts)) found.ranks = larger.ranks;
  }
  return found;
}

}  // namespace echo
