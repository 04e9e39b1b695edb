#include "cli/bench.h"

#include "cli/table.h"
#include "trainers/bench/bench_report.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

// "0.998 1.000 0.999", in the order of the seeds.
Cell scores_cell(const Group& group) {
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  std::string text;
  for (const auto& [seed, result] : group.by_seed) {
    const Cell cell = result.score ? number(*result.score, 3) : nothing();
    values.push_back(cell.value);
    text += (text.empty() ? "" : " ") + cell.text;
  }
  return {values, text};
}

Cell solved_cell(const Group& group) {
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  std::string text;
  for (const auto& [seed, result] : group.by_seed) {
    values.push_back(result.steps_to_solve ? nlohmann::ordered_json(*result.steps_to_solve)
                                           : nlohmann::ordered_json(nullptr));
    text += (text.empty() ? "" : " ") +
            (result.steps_to_solve ? std::to_string(*result.steps_to_solve) : std::string("-"));
  }
  return {values, text};
}

Cell range_cell(const std::vector<double>& scores) {
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  return {nlohmann::ordered_json::array({*low, *high}),
          number(*low, 3).text + ".." + number(*high, 3).text};
}

void add_group(Table& table, const Bench& bench, const Group& group) {
  std::vector<double> scores, speeds;
  for (const auto& [seed, result] : group.by_seed) {
    if (result.score) scores.push_back(*result.score);
    speeds.push_back(result.tokens_per_second);
  }
  const CellResult& first = group.by_seed.begin()->second;
  std::vector<Cell> cells = {word(bench.arms[group.combination.arm].name)};
  for (const auto& [path, value] : grid_values(bench, group.combination)) {
    if (varies(bench, path)) cells.push_back(word(value));
  }
  cells.push_back(group.rate ? number(*group.rate) : nothing());
  cells.push_back(scores_cell(group));
  cells.push_back(scores.empty() ? nothing() : number(median(scores), 3));
  cells.push_back(scores.empty() ? nothing() : range_cell(scores));
  cells.push_back(solved_cell(group));
  cells.push_back(count(first.parameters));
  cells.push_back(bytes(first.state_bytes));
  cells.push_back({median(speeds), count_text(median(speeds))});
  table.add(std::move(cells));
}

Table table_of(const Bench& bench, const BenchResults& results) {
  std::vector<std::string> columns = {"arm"};
  for (const Bench::Axis& axis : bench.grid) {
    if (varies(bench, axis.path)) columns.push_back(axis.path.substr(axis.path.rfind('.') + 1));
  }
  for (const std::string& name :
       {std::string("rate"), results.metric(), std::string("median"), std::string("range"),
        std::string("steps_to_solve"), std::string("parameters"), std::string("state"),
        std::string("tokens/s")})
    columns.push_back(name);
  Table table(columns);
  for (const Group& group : results.groups) {
    if (!group.by_seed.empty()) add_group(table, bench, group);
  }
  return table;
}

void print_notes(const Bench& bench, const BenchResults& results) {
  std::string seeds;
  for (const int64_t seed : bench.seeds)
    seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  std::cout << "\nby seed: " << seeds
            << "; steps to solve: the first evaluation with at least 0.99\n";
  for (const Group& group : results.groups) {
    if (group.at_edge(bench) && !group.by_seed.empty()) {
      std::cout << combination_text(bench, group.combination) << ": the best rate, "
                << number_text(*group.rate) << ", stands at an end of bench.rates\n";
    }
  }
  for (const Failure& failure : results.failures)
    std::cout << "failed: " << failure.cell << ": " << failure.reason << "\n";
}

}  // namespace

void read_shard(const std::string& text, BenchRequest& request) {
  const size_t slash = text.find('/');
  const auto read = [](std::string_view digits, int64_t& value) {
    const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return code == std::errc() && stop == digits.data() + digits.size();
  };
  int64_t part = 0, parts = 0;
  const bool good =
      slash != std::string::npos && read(std::string_view(text).substr(0, slash), part) &&
      read(std::string_view(text).substr(slash + 1), parts) && part >= 1 && part <= parts;
  if (!good) {
    throw ConfigError("--shard: '" + text +
                      "' is no part; allowed: 1/3, 2/3 and 3/3 for the three parts of a bench");
  }
  request.shard = part - 1;
  request.shards = parts;
}

int run_bench_command(Program& program, BenchRequest request, bool as_json) {
  for (const std::string& file : program.plugin_files())
    request.plugins.push_back(std::filesystem::absolute(file).string());
  Console console(std::cerr, [] { return look_at(STDERR_FILENO); });
  const BenchOutcome outcome = run_bench(request, program.plugins(), console);
  const BenchResults& results = outcome.results;
  if (as_json) {
    std::cout << results_json(outcome.bench, results).dump(2) << "\n";
  } else {
    const Table table = table_of(outcome.bench, results);
    if (!table.empty()) {
      table.print(false);
      print_notes(outcome.bench, results);
    }
    std::cout << "\n";
    print_pairs({{"report", (outcome.folder / "report.html").string()},
                 {"rows", (outcome.folder / "results.csv").string()},
                 {"repeat", bench_command(outcome.folder, outcome.bench, request.threads)}});
  }
  if (outcome.stopped) {
    console.line("stopped with " + std::to_string(results.finished) + " of " +
                 std::to_string(results.cells) + " cells finished; the same command goes on");
    return kStopped;
  }
  return results.failures.empty() ? kDone : kFailed;
}

}  // namespace echo::cli
