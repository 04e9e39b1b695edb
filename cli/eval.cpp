#include "cli/bench.h"
#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "framework/src/text/near.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/run.h"
#include "trainers/score.h"

#include <echo/error.h>

#include <iostream>
#include <set>
#include <unistd.h>

namespace echo::cli {

namespace {

struct EvalArguments {
  std::vector<std::string> runs;
  ScoreRequest request;
  std::string split;
  std::string device = "cpu";
  int64_t threads = 0;
  bool as_json = false;
  BenchRequest bench;
  std::string shard;
};

std::optional<Split> read_split(const std::string& name) {
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    if (name == split_name(split)) return split;
  }
  return std::nullopt;
}

// One line of the table: a task, or a slice of it.
struct Row {
  std::string run;
  const TaskScores* of;
  std::string slice;
  std::map<std::string, double> scores;
};

// "accuracy/64/4" is the accuracy of the slice 64/4.
std::vector<Row> rows_of(const std::string& run, const TaskScores& scored) {
  std::map<std::string, Row> rows;  // by slice; the whole task is ""
  for (const auto& [name, score] : scored.scores) {
    if (score.count <= 0) continue;
    const size_t end = name.find('/');
    const std::string slice = end == std::string::npos ? "" : name.substr(end + 1);
    Row& row = rows.try_emplace(slice, Row{run, &scored, slice, {}}).first->second;
    row.scores[name.substr(0, end)] = score.mean();
  }
  std::vector<Row> list;
  for (auto& [slice, row] : rows) list.push_back(std::move(row));
  return list;
}

// Whatever the scores of different tasks, one table.
Table table_of(const std::vector<Row>& rows) {
  std::set<std::string> scores;
  bool slices = false;
  for (const Row& row : rows) {
    for (const auto& [name, value] : row.scores) scores.insert(name);
    slices = slices || !row.slice.empty();
  }
  std::vector<std::string> columns = {"run", "step", "task"};
  if (slices) columns.emplace_back("slice");
  for (const char* name : {"split", "samples", "state_bytes"}) columns.emplace_back(name);
  columns.insert(columns.end(), scores.begin(), scores.end());
  Table table(columns);
  for (const Row& row : rows) {
    std::vector<Cell> cells = {word(row.run), count(row.of->step), word(row.of->task)};
    if (slices) cells.push_back(row.slice.empty() ? nothing() : word(row.slice));
    cells.push_back(word(split_name(row.of->split)));
    cells.push_back(count(row.of->samples));
    cells.push_back(bytes(row.of->state_bytes));
    for (const std::string& name : scores) {
      const auto found = row.scores.find(name);
      cells.push_back(found == row.scores.end() ? nothing() : number(found->second));
    }
    table.add(std::move(cells));
  }
  return table;
}

// What a reader that does not solve the task would get.
void print_levels(const std::vector<TaskScores>& results) {
  std::set<std::string> said;
  for (const TaskScores& result : results) {
    std::string levels;
    for (const auto& [name, value] : result.info.levels)
      levels += (levels.empty() ? "" : ", ") + name + " " + number(value).text;
    if (!levels.empty() && said.insert(result.task + levels).second)
      std::cout << "\nchance levels of " << result.task << ": " << levels << "\n";
  }
}

int run_bench_of(Program& program, const EvalArguments& arguments) {
  if (!arguments.runs.empty()) {
    throw ConfigError("--bench trains runs of its own; leave '" + arguments.runs.front() +
                      "' out, or leave --bench out to score it");
  }
  if (!arguments.request.task.empty() || !arguments.split.empty()) {
    throw ConfigError(
        "--task and --split belong to `eval RUN`; a bench says itself what it scores");
  }
  BenchRequest request = arguments.bench;
  if (!arguments.shard.empty()) read_shard(arguments.shard, request);
  request.overrides = arguments.request.overrides;
  request.device = arguments.device;
  if (arguments.threads > 0) request.threads = arguments.threads;
  return run_bench_command(program, request, arguments.as_json);
}

// Options of a bench say nothing about a run that is there.
void refuse_bench_options(const EvalArguments& arguments) {
  const BenchRequest& bench = arguments.bench;
  const char* given = bench.quick                ? "--quick"
                      : bench.jobs > 0           ? "--jobs"
                      : !bench.out.empty()       ? "--out"
                      : !arguments.shard.empty() ? "--shard"
                                                 : nullptr;
  if (given) {
    throw ConfigError(std::string(given) + " belongs to --bench, as in `" + program_name() +
                      " eval --bench mqar --quick`");
  }
}

int run(Program& program, EvalArguments arguments) {
  if (!arguments.bench.bench.empty()) return run_bench_of(program, arguments);
  refuse_bench_options(arguments);
  if (arguments.runs.empty()) {
    throw ConfigError("eval needs a RUN, as in `" + program_name() +
                      " eval runs/NAME`, or a bench, as in `" + program_name() +
                      " eval --bench mqar --quick`");
  }
  use_deterministic_threads(arguments.threads);
  arguments.request.split = read_split(arguments.split);
  arguments.request.device = parse_device(arguments.device);
  Console console(std::cerr, [] { return look_at(STDERR_FILENO); });
  for (const std::string& folder : arguments.runs) check_run(folder);  // before the first is scored
  console.wait();
  std::vector<std::pair<std::string, std::vector<TaskScores>>> scored;
  for (const std::string& folder : arguments.runs) {
    arguments.request.run = folder;
    scored.emplace_back(folder, score_run(arguments.request, program.plugins(), console));
  }
  console.finish();
  std::vector<Row> rows;
  for (const auto& [folder, results] : scored) {
    for (const TaskScores& result : results) {
      const std::vector<Row> more = rows_of(folder, result);
      rows.insert(rows.end(), more.begin(), more.end());
    }
  }
  table_of(rows).print(arguments.as_json);
  if (arguments.as_json) return kDone;
  for (const auto& [folder, results] : scored) print_levels(results);
  return kDone;
}

}  // namespace

void add_eval(Program& program) {
  auto arguments = std::make_shared<EvalArguments>();
  Command& command = program.command("Train and score", "eval", "score runs, or run a bench");
  command.argument("RUN", arguments->runs, "run folders, or checkpoints in them");
  command.option("--task", arguments->request.task, "TASK",
                 "only this one: task (the recipe's own), a name of evaluate.tasks, or a kind");
  command.choice("--split", arguments->split, {"train", "validation", "test"}, "SPLIT",
                 "what to score on (test, else validation)");
  command.repeated("--set", arguments->request.overrides, "KEY=VALUE",
                   "change what is scored, as in task.length=256; of a bench any field, as in "
                   "'bench.seeds=[5,6]' or train.steps=200");
  command.option("--bench", arguments->bench.bench, "BENCH",
                 "run a bench: mixers, mqar, or a file of your own (recipes/README.md)");
  command.flag("--quick", arguments->bench.quick,
               "the bench's short form: ten minutes on two cores");
  command
      .option("--jobs", arguments->bench.jobs, "N",
              "cells side by side (as many as there are cores)")
      ->transform(whole_number(1, 4096));
  command.option("--out", arguments->bench.out, "DIR", "the bench's folder (runs/bench/NAME)");
  command.option("--shard", arguments->shard, "I/N",
                 "only this part of the arms, to share a bench among machines");
  command.add_device(arguments->device);
  command.add_threads(arguments->threads);
  command.add_json(arguments->as_json);
  command.example("eval runs/ska runs/attention", "two runs side by side");
  command.example("eval runs/ska --set task.length=256 --set task.pairs=16",
                  "on longer samples than it was trained on");
  command.example("eval runs/ska/checkpoints/000400 --split validation --json", "one checkpoint");
  command.example("eval --bench mqar --quick",
                  "recall of all forms of SKA, ten minutes on two cores");
  command.example("eval --bench mixers --quick", "recall of every kind of mixer, as long");
  command.example("eval --bench mqar --quick --set 'bench.seeds=[5,6]'",
                  "other seeds: only new cells run");
  command.notes =
      "A bench trains and scores arms x grid x rates x seeds, every cell a run folder of its own. "
      "The learning rate of each arm is chosen on the validation split, with seeds of its own; "
      "then the bench's seeds are scored on the test split. Finished cells are never run again; "
      "Ctrl-C saves, and the same command goes on. Cells compute with one thread unless --threads "
      "says more.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
