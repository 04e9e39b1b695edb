#include "trainers/distributed/plan.h"

#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "trainers/determinism.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTooLarge = 3;  // meshes that do not fit, as the table shows them beside others

struct PlanArguments {
  std::string recipe;
  std::optional<int64_t> gpus, memory;
  Machine machine;
  int64_t bandwidth = 50'000'000'000, node_bandwidth = 300'000'000'000, flops = 400'000'000'000'000;
  std::vector<std::string> set;
  int64_t threads = 0;
  bool as_json = false;
};

std::string gpus_text(int64_t count) {
  return echo::cli::count(count).text + (count == 1 ? " GPU" : " GPUs");
}

std::string seconds_text(double seconds) {
  if (seconds >= 1) return number(seconds, 3).text + " s";
  if (seconds >= 1e-3) return number(seconds * 1e3, 3).text + " ms";
  return number(seconds * 1e6, 3).text + " us";
}

std::string mesh_text(const Mesh& mesh) {
  return std::to_string(mesh.data) + " x " + std::to_string(mesh.sequence);
}

double tokens_per_second(const MeshPlan& mesh, const Workload& step) {
  return static_cast<double>(step.batch * step.length) / mesh.time.total();
}

Json json_of(const PlannedTraffic& traffic) {
  return {{"gradients", traffic.gradients},
          {"parameters", traffic.parameters},
          {"control", traffic.control},
          {"sequence", traffic.sequence},
          {"total", traffic.total()}};
}

Json json_of(const PlannedTime& time) {
  return {{"work", time.work},           {"idle", time.idle},
          {"gradients", time.gradients}, {"parameters", time.parameters},
          {"control", time.control},     {"sequence", time.sequence},
          {"total", time.total()}};
}

Json json_of(const MeshPlan& plan, const Workload& step) {
  return {{"data", plan.mesh.data},
          {"sequence", plan.mesh.sequence},
          {"zero", plan.mesh.zero},
          {"fits", plan.fits},
          {"limit", limit_name(plan.limit)},
          {"parameter_bytes", plan.memory.parameters},
          {"gradient_bytes", plan.memory.gradients},
          {"bucket_bytes", plan.memory.buckets},
          {"optimizer_bytes", plan.memory.optimizer},
          {"activation_bytes", plan.memory.activations},
          {"predicted_peak_bytes", plan.memory.peak},
          {"sent_bytes", json_of(plan.traffic)},
          {"seconds", json_of(plan.time)},
          {"tokens_per_second", tokens_per_second(plan, step)}};
}

Json json_of(const Recipe& recipe, const Plan& plan, const Planner& planner,
             const Machine& machine) {
  const Workload& step = planner.task().workload;
  Json json = {{"recipe", recipe.name},
               {"gpus", machine.ranks},
               {"gpu_memory_bytes", machine.memory},
               {"node_gpus", machine.node_ranks},
               {"bandwidth", machine.bandwidth},
               {"node_bandwidth", machine.node_bandwidth},
               {"flops", machine.flops},
               {"efficiency", machine.efficiency},
               {"batch", step.batch},
               {"length", step.length},
               {"best", nullptr},
               {"meshes", Json::array()},
               {"impossible", Json::array()}};
  if (plan.best()) json["best"] = json_of(*plan.best(), step);
  for (const MeshPlan& mesh : plan.meshes) json["meshes"].push_back(json_of(mesh, step));
  for (const ImpossibleMesh& one : plan.impossible) {
    json["impossible"].push_back(
        {{"data", one.mesh.data}, {"sequence", one.mesh.sequence}, {"reason", one.reason}});
  }
  return json;
}

std::string assumptions(const Recipe& recipe, const Planner& planner, const Machine& machine) {
  const Workload& step = planner.task().workload;
  std::string text =
      recipe.name + " on " + gpus_text(machine.ranks) + " of " + bytes_text(machine.memory) + ", " +
      count(machine.node_ranks).text + " in a node: a step of " + count(step.batch).text +
      (step.batch == 1 ? " sample" : " samples") + " of " + count(step.length).text +
      " tokens; every GPU computes " + count_text(machine.flops * machine.efficiency) +
      " operations per second (" + number(100 * machine.efficiency, 3).text + " % of " +
      count_text(machine.flops) + ") and sends " + count_text(machine.bandwidth) +
      " bytes per second to other nodes, " + count_text(machine.node_bandwidth) + " within its own";
  if (!planner.task().missing.empty())
    text += ". The task's data cannot be read: " + planner.task().missing;
  return text;
}

Table table_of(const Plan& plan, const Workload& step) {
  Table table({"mesh", "zero", "memory", "sent", "step", "tokens/s", "limit", "verdict"});
  size_t too_large = 0;
  for (const MeshPlan& mesh : plan.meshes) {
    if (!mesh.fits && ++too_large > kTooLarge) break;
    const std::string verdict = &mesh == plan.best() ? "best" : mesh.fits ? "" : "does not fit";
    const double tokens = tokens_per_second(mesh, step);
    table.add({word(mesh_text(mesh.mesh)),
               count(mesh.mesh.zero),
               bytes(mesh.memory.peak),
               bytes(mesh.traffic.total()),
               {mesh.time.total(), seconds_text(mesh.time.total())},
               {tokens, count_text(tokens)},
               word(limit_name(mesh.limit)),
               word(verdict)});
  }
  return table;
}

// Products of one reason together: "train.batch 8 has fewer rows than groups: 64 x 1, 32 x 2".
std::vector<std::string> impossible_lines(const Plan& plan) {
  std::vector<std::pair<std::string, std::string>> reasons;
  for (const ImpossibleMesh& one : plan.impossible) {
    if (reasons.empty() || reasons.back().first != one.reason) {
      reasons.emplace_back(one.reason, mesh_text(one.mesh));
    } else {
      reasons.back().second += ", " + mesh_text(one.mesh);
    }
  }
  std::vector<std::string> lines;
  for (const auto& [reason, meshes] : reasons) lines.push_back(meshes + ": " + reason);
  return lines;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
  return text;
}

std::string part_text(const char* name, int64_t bytes) {
  return bytes > 0 ? ", " + std::string(name) + " " + bytes_text(bytes) : "";
}

std::string memory_text(const PlannedMemory& memory) {
  return "parameters " + bytes_text(memory.parameters) + ", gradients " +
         bytes_text(memory.gradients) + part_text("their buckets", memory.buckets) +
         part_text("optimizer", memory.optimizer) + part_text("activations", memory.activations);
}

std::string traffic_text(const PlannedTraffic& traffic) {
  return "gradients " + bytes_text(traffic.gradients) +
         part_text("parameters", traffic.parameters) + part_text("sequence", traffic.sequence) +
         part_text("control", traffic.control);
}

std::string time_text(const PlannedTime& time) {
  std::string text = "computing " + seconds_text(time.work);
  if (time.idle > 0) text += ", waiting for the largest share " + seconds_text(time.idle);
  if (time.communication() > 0)
    text += ", communication that nothing hides " + seconds_text(time.communication());
  return text;
}

// What there is to say below the table.
std::vector<std::string> remarks(const Plan& plan) {
  std::vector<std::string> lines;
  if (const MeshPlan* best = plan.best()) {
    lines = {"best: " + best->mesh.text() + ", limited by " + limit_name(best->limit),
             "memory: " + memory_text(best->memory), "sent: " + traffic_text(best->traffic),
             "step: " + time_text(best->time)};
  }
  if (!plan.impossible.empty()) lines.push_back("impossible: " + joined(impossible_lines(plan)));
  return lines;
}

void print(const Recipe& recipe, const Plan& plan, const Planner& planner, const Machine& machine) {
  const Terminal terminal = look_at(STDOUT_FILENO);
  std::cout << wrap(assumptions(recipe, planner, machine), terminal.width, 2) << "\n\n"
            << table_of(plan, planner.task().workload).text(terminal);
  const std::vector<std::string> lines = remarks(plan);
  if (!lines.empty()) std::cout << "\n";
  for (const std::string& line : lines) std::cout << wrap(line, terminal.width, 2) << "\n";
}

std::string remedies_text(const Planner& planner, const Machine& machine) {
  const Remedies remedies = planner.remedies(machine);
  std::vector<std::string> help;
  if (remedies.accumulation)
    help.push_back("--set train.accumulation=" + std::to_string(*remedies.accumulation));
  if (remedies.ranks) help.push_back("--gpus " + std::to_string(*remedies.ranks));
  if (help.empty())
    return "neither more accumulation nor more GPUs would help; take a smaller model, a shorter "
           "length or a smaller train.batch";
  return "what would help: " + help.front() + (help.size() > 1 ? ", or " + help.back() : "");
}

// Where no mesh fits: the exit code of a failure, with what would help.
[[noreturn]] void fail(const Plan& plan, const Planner& planner, const Machine& machine) {
  const MeshPlan& nearest = *plan.nearest();
  throw Error("no mesh of " + gpus_text(machine.ranks) + " fits: the nearest, " +
              nearest.mesh.text() + ", takes " + bytes_text(nearest.memory.peak) + ", " +
              bytes_text(nearest.memory.peak - machine.memory) + " more than the " +
              bytes_text(machine.memory) + " of a GPU; " + remedies_text(planner, machine));
}

void check(const PlanArguments& arguments) {
  const std::string example = ", as in `" + program_name() +
                              " plan recipes/lm/echo-180m.yaml --gpus 64 --gpu-memory 80GiB`";
  if (arguments.recipe.empty()) throw ConfigError("plan needs a RECIPE" + example);
  if (!arguments.gpus) throw ConfigError("plan needs --gpus N" + example);
  if (!arguments.memory) throw ConfigError("plan needs --gpu-memory SIZE" + example);
}

int run(Program& program, const PlanArguments& arguments) {
  check(arguments);
  Machine machine = arguments.machine;
  machine.ranks = *arguments.gpus;
  machine.memory = *arguments.memory;
  machine.bandwidth = static_cast<double>(arguments.bandwidth);
  machine.node_bandwidth = static_cast<double>(arguments.node_bandwidth);
  machine.flops = static_cast<double>(arguments.flops);
  const Recipe recipe = program.recipe(arguments.recipe, arguments.set);
  use_deterministic_threads(arguments.threads);
  const Planner planner(recipe, program.plugins().registry());
  const Plan plan = planner.plan(machine);
  if (plan.meshes.empty()) {
    throw ConfigError(recipe.name + " cannot be shared out to " + gpus_text(machine.ranks) + ": " +
                      joined(impossible_lines(plan)) + "; take fewer GPUs or a larger train.batch");
  }
  if (arguments.as_json) {
    std::cout << json_of(recipe, plan, planner, machine).dump(2) << "\n";
  } else {
    print(recipe, plan, planner, machine);
  }
  if (!plan.best()) fail(plan, planner, machine);
  return kDone;
}

void add_machine(Command& command, PlanArguments& arguments) {
  command.option("--gpus", arguments.gpus, "N", "how many there are: one rank each")
      ->transform(whole_number(1, 1 << 16));
  command.option("--gpu-memory", arguments.memory, "SIZE", "that a rank may take: 80GiB, 24GB")
      ->transform(size_in_bytes());
  command
      .option("--bandwidth", arguments.bandwidth, "SPEED",
              "that a GPU sends to other nodes with (default: 50GB/s)")
      ->transform(bytes_per_second());
  command.option("--node-gpus", arguments.machine.node_ranks, "N", "GPUs of a node")
      ->transform(whole_number(1, 1 << 16))
      ->capture_default_str();
  command
      .option("--node-bandwidth", arguments.node_bandwidth, "SPEED",
              "that a GPU sends within its node with (default: 300GB/s)")
      ->transform(bytes_per_second());
  command
      .option("--flops", arguments.flops, "N",
              "operations per second of a GPU, at most, in the recipe's precision (default: 400T)")
      ->transform(operations_per_second());
  command
      .option("--efficiency", arguments.machine.efficiency, "SHARE",
              "of these operations that a model reaches")
      ->transform(real_number(0.001, 1))
      ->capture_default_str();
}

}  // namespace

void add_plan(Program& program) {
  auto arguments = std::make_shared<PlanArguments>();
  Command& command =
      program.command("Train and score", "plan", "how to share out a training to many GPUs");
  command.argument("RECIPE", arguments->recipe, "what to train, or a run folder");
  add_machine(command, *arguments);
  command.add_overrides(arguments->set);
  command.add_threads(arguments->threads);
  command.add_json(arguments->as_json);
  command.example("plan recipes/lm/echo-180m.yaml --gpus 8 --gpu-memory 80GiB", "one node");
  command.example(
      "plan recipes/lm/echo-180m.yaml --gpus 64 --gpu-memory 24GiB --bandwidth 10GB/s --set "
      "train.batch=512",
      "a slow network, and the batch to go with it");
  command.notes =
      "A mesh is data x sequence: so many groups of ranks have rows of the batch, and the ranks of "
      "a group a part each of every row's tokens (parallel.data, parallel.sequence). zero 1 is "
      "ZeRO-1: every rank keeps the optimizer's state of its own parameters (parallel.zero). Every "
      "product that gives the number of GPUs is tried with and without it; the best is the fastest "
      "that fits.\n\n"
      "Memory is what `memory` predicts for the rank with the most; leave about 2 GiB of "
      "--gpu-memory to CUDA, NCCL and fragments. Sent is what one rank sends in a step: in a ring "
      "of n, 2 (n - 1) / n of the float32 gradients; with ZeRO-1 half of that for the gradients "
      "and "
      "half for the new parameters; between the ranks of a sequence what the mixers exchange, once "
      "forward and once backward.\n\n"
      "A step takes three times the operations of its forward pass, of the rank with the largest "
      "share; gradients travel behind the backward pass of the last part (train.accumulation) and "
      "count as far as they take longer, all else is waited for. Every operation between ranks "
      "takes 20 us to start. It is an estimate, to choose by. What takes most of the step is its "
      "limit: compute; bandwidth; batch (rows or tokens that cannot be shared out evenly). "
      "Formulas: trainers/distributed/README.md.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
