#include "trainers/train.h"

#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/ranks.h"
#include "cli/table.h"
#include "framework/src/text/terminal.h"
#include "trainers/distributed/mesh.h"
#include "trainers/environment.h"
#include "trainers/sample.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <iostream>
#include <unistd.h>

#include <spdlog/spdlog.h>

namespace echo::cli {

namespace {

using Json = nlohmann::ordered_json;

// "accuracy 0.9912, loss 0.0312 (test, 1000 samples; chance: key-blind 0.125)"
std::string final_text(const Json& task) {
  if (!task.contains("scores")) return "has no held-out split";
  std::string text;
  for (const auto& [name, value] : task["scores"].items()) {
    if (name.find('/') != std::string::npos) continue;  // a slice: in the files
    text += (text.empty() ? "" : ", ") + name + " " + number_text(value.get<double>());
  }
  text += " (" + task["split"].get<std::string>() + ", " +
          count(task["samples"].get<int64_t>()).text + " samples";
  if (task.contains("levels")) {
    std::string levels;
    for (const auto& [name, value] : task["levels"].items())
      levels +=
          (levels.empty() ? "; chance: " : ", ") + name + " " + number_text(value.get<double>());
    text += levels;
  }
  return text + ")";
}

std::string solved_text(const Json& summary) {
  if (summary["steps_to_solve"].is_null()) return "no";
  return "at step " + count(summary["steps_to_solve"].get<int64_t>()).text;
}

void print_summary(const TrainResult& result) {
  const Json& summary = result.summary;
  const Json& own = summary["final"]["task"];
  std::vector<std::pair<std::string, std::string>> lines = {
      {"run", result.folder.path().string()},
      {"steps", count(result.step).text + " in " + duration_text(summary["seconds"].get<double>()) +
                    ", " + count_text(summary["tokens_per_second"].get<double>()) + " tokens/s"},
      {"parameters", count(summary["parameters"].get<int64_t>()).text},
      {"state", bytes(own["state_bytes"].get<int64_t>()).text + " per sequence of " +
                    count(own["length"].get<int64_t>()).text + " tokens"}};
  for (const auto& [name, task] : summary["final"].items())
    lines.emplace_back(name, final_text(task));
  if (summary["metric"] == "accuracy") lines.emplace_back("solved", solved_text(summary));
  if (std::filesystem::exists(result.folder.report()))
    lines.emplace_back("report", result.folder.report().string());
  print_pairs(lines);
}

void print_sample(const RunFolder& folder, const Terminal& terminal) {
  const std::optional<TextSample> sample = read_sample(folder);
  if (!sample) return;
  std::cout << "\n"
            << styled(terminal, Style::bold, "Sample") << " (" << sample->note << "):\n  "
            << wrap(sample->text, terminal.width > 0 ? terminal.width : 80, 2) << "\n";
}

// Three commands to try, which work as they are.
void print_next(const TrainResult& result, const Terminal& terminal) {
  const std::string program = program_name() + " ";
  const std::string run = shell_word(result.folder.path().string());
  const bool text = std::filesystem::exists(result.folder.sample());
  const std::string more = std::to_string(2 * result.step);
  const std::string again = result.folder.path().string() + "-seed1";
  const std::vector<std::pair<std::string, std::string>> next = {
      text ? std::pair<std::string, std::string>{program + "generate " + run + " --prompt 'And '",
                                                 "lets it continue a text"}
           : std::pair<std::string, std::string>{program + "train " + run +
                                                     "/recipe.yaml --set seed=1 --run " +
                                                     shell_word(again),
                                                 "trains the same again from another seed"},
      {program + "eval " + run, "scores it"},
      {how_to_resume(result.folder) + " --set train.steps=" + more,
       "trains on, to twice as many steps"}};
  std::cout << "\n" << styled(terminal, Style::bold, "Next:") << "\n";
  for (const auto& [command, purpose] : next)
    std::cout << "  " << command << "\n      " << purpose << "\n";
}

int run_here(Program& program, TrainRequest request, RankedProcess& process) {
  request.command = command_line();
  request.device = process.device(request.device);
  request.restarted = process.launch().restarted;
  if (process.ranks().size() > 1 && request.threads == 0)
    request.threads = threads_per_rank(process.launch().on_host);
  Console console(process.out(), [&] { return process.terminal(STDERR_FILENO); });
  const TrainResult result = train(request, program.plugins(), console, process.ranks());
  if (!process.ranks().leads()) return result.outcome == Outcome::finished ? kDone : kStopped;
  if (result.outcome == Outcome::finished) {
    print_summary(result);
    const Terminal terminal = look_at(STDOUT_FILENO);
    print_sample(result.folder, terminal);
    print_next(result, terminal);
    return kDone;
  }
  console.line("stopped after step " + std::to_string(result.step) + "; go on with `" +
               how_to_resume(result.folder) + "`");
  return kStopped;
}

// What cannot be shared out is said before any rank is started.
void check_ranks(Program& program, const TrainRequest& request, int64_t ranks) {
  if (ranks <= 1 || request.resume || request.recipe.empty() || find_launch().ranks > 1) return;
  spdlog::set_level(spdlog::level::warn);  // the first rank names the plugins
  mesh_of(program.recipe(request.recipe, request.overrides), ranks);
}

int run(Program& program, const TrainRequest& request, int64_t ranks) {
  check_ranks(program, request, ranks);
  if (const auto code = run_elsewhere(ranks, request.device)) return *code;
  RankedProcess process(request.device);
  return run_here(program, request, process);
}

}  // namespace

void add_train(Program& program) {
  auto request = std::make_shared<TrainRequest>();
  auto ranks = std::make_shared<int64_t>(0);
  Command& command = program.command("Train and score", "train", "train a model as a recipe says");
  command.argument("RECIPE", request->recipe, "what to train; may be left out with --resume --run");
  command.option("--run", request->run, "DIR", "the run folder (runs/NAME, by the recipe's name)");
  command.flag("--resume", request->resume, "go on with an unfinished run");
  command
      .option("--from", request->from, "STEP",
              "with --resume: go on from this checkpoint and forget what came later")
      ->transform(whole_number(0));
  command.add_overrides(request->overrides);
  command.add_device(request->device);
  command.add_threads(request->threads);
  command.option("--ranks", *ranks, "N", "so many processes on this machine, by mpirun")
      ->transform(whole_number(1));
  command.option("--trace", request->trace, "FILE",
                 "write what ran when, for Perfetto or chrome://tracing");
  command.example("train recipes/quickstart.yaml", "a small model on English text");
  command.example("train recipes/mqar/ska.yaml --set train.steps=500", "one value changed");
  command.example("train recipes/mqar/ska.yaml --run runs/try", "into a folder of your choice");
  command.example("train recipes/quickstart.yaml --ranks 2", "on two ranks");
  command.example("train --resume --run runs/try", "on with a run that was stopped");
  command.notes =
      "Ctrl-C (or SIGTERM) finishes the step, saves a checkpoint and leaves with exit code 75; a "
      "second Ctrl-C ends at once. A run that is resumed, even after a crash, gives the same "
      "numbers as one that was never interrupted.\n\n"
      "A finished run is never overwritten: the next one goes to DIR-2. When a run is resumed, "
      "its own recipe counts; --set may change train.steps, train.log_every, train.checkpoint, "
      "evaluate and parallel only.\n\n"
      "Several ranks train one model: --ranks N, `mpirun -n N`, `srun` or `torchrun --no-python` "
      "before the command. The recipe's parallel.data, parallel.sequence and parallel.zero say how "
      "they share the work. The first one prints; the others write runs/NAME/logs. To mpirun, send "
      "SIGUSR1 for a stop that saves: after SIGTERM it kills the ranks a second later.";
  command.run = [&program, request, ranks] { return run(program, *request, *ranks); };
}

}  // namespace echo::cli
