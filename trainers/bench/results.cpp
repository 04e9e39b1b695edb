#include "trainers/bench/results.h"

#include "trainers/run_folder.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::optional<double> number_of(const Json& value) {
  return value.is_number() ? std::optional<double>(value.get<double>()) : std::nullopt;
}

// The columns of a row that say which run it is.
Json cell_json(const Bench& bench, const Group& group, int64_t seed, const CellResult& result) {
  Json row = {{"arm", bench.arms[group.combination.arm].name}, {"task", result.task}};
  for (const auto& [path, value] : grid_values(bench, group.combination)) {
    const Json number = Json::parse(value, nullptr, false);
    row[path] = number.is_number() ? number : Json(value);
  }
  row["seed"] = seed;
  row["learning_rate"] = or_null(group.rate);
  return row;
}

void add_result(Json& row, const CellResult& result) {
  row[result.metric] = or_null(result.score);
  row["best_" + result.metric] = or_null(result.best);
  row["steps_to_solve"] = or_null(result.steps_to_solve);
  row["parameters"] = result.parameters;
  row["state_bytes"] = result.state_bytes;
  row["tokens_per_second"] = std::round(result.tokens_per_second);
  row["run"] = result.run.string();
}

Json slices_json(const CellResult& result) {
  Json slices = Json::object();
  for (const auto& [slice, score] : result.slices) slices[result.metric + "/" + slice] = score;
  return slices;
}

Json tried_json(const Bench& bench, const Group& group) {
  Json list = Json::array();
  for (const TriedRate& tried : group.tried) {
    for (size_t i = 0; i < tried.results.size(); ++i) {
      const auto& result = tried.results[i];
      if (!result) continue;
      Json row = cell_json(bench, group, bench.rate_seeds[i], *result);
      row["learning_rate"] = tried.rate;
      row["validation_" + result->metric] = or_null(result->validation);
      row["chosen"] = group.rate == tried.rate;
      row["run"] = result->run.string();
      list.push_back(std::move(row));
    }
  }
  return list;
}

Json group_json(const Bench& bench, const Group& group) {
  Json summary = cell_json(bench, group, 0, group.by_seed.begin()->second);
  summary.erase("seed");
  std::vector<double> scores;
  int64_t solved = 0;
  for (const auto& [seed, result] : group.by_seed) {
    if (result.score) scores.push_back(*result.score);
    solved += result.steps_to_solve.has_value();
  }
  const CellResult& first = group.by_seed.begin()->second;
  summary["rate_at_edge"] = group.at_edge(bench);
  summary["seeds"] = group.by_seed.size();
  summary["solved"] = solved;
  if (!scores.empty()) {
    summary["median_" + first.metric] = median(scores);
    summary["lowest_" + first.metric] = *std::min_element(scores.begin(), scores.end());
    summary["highest_" + first.metric] = *std::max_element(scores.begin(), scores.end());
  }
  summary["parameters"] = first.parameters;
  summary["state_bytes"] = first.state_bytes;
  return summary;
}

std::string csv_word(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string inner = "\"";
  for (const char letter : text) inner += letter == '"' ? "\"\"" : std::string(1, letter);
  return inner + "\"";
}

}  // namespace

bool lower_is_better(const std::string& metric) { return metric != "accuracy"; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::optional<CellResult> read_cell(const fs::path& run) {
  const RunFolder folder(run);
  if (folder.stage() != RunStage::finished) return std::nullopt;
  std::ifstream file(folder.summary());
  const Json summary = Json::parse(file, nullptr, false);
  const Json own = summary.is_object() ? summary.value("/final/task"_json_pointer, Json()) : Json();
  if (!own.is_object()) {
    throw Error(folder.summary().string() + " is damaged; remove " + run.string() +
                ", and the cell is trained again");
  }
  CellResult result{.run = run};
  result.metric = summary.value("metric", "accuracy");
  result.best = number_of(summary.value("best", Json()));
  if (const auto steps = number_of(summary.value("steps_to_solve", Json())))
    result.steps_to_solve = static_cast<int64_t>(*steps);
  result.parameters = summary.value("parameters", int64_t{0});
  result.tokens_per_second = summary.value("tokens_per_second", 0.0);
  result.seconds = summary.value("seconds", 0.0);
  result.state_bytes = own.value("state_bytes", int64_t{0});
  result.length = own.value("length", int64_t{0});
  result.split = own.value("split", "");
  result.slice_by = own.value("slice_by", "");
  const Json scores = own.value("scores", Json::object());
  for (const auto& [name, value] : scores.items()) {
    if (name == result.metric) result.score = number_of(value);
    if (name.starts_with(result.metric + "/") && value.is_number())
      result.slices[name.substr(result.metric.size() + 1)] = value.get<double>();
  }
  const Json levels = own.value("levels", Json::object());
  for (const auto& [name, value] : levels.items()) {
    if (value.is_number()) result.levels[name] = value.get<double>();
  }
  const Curves curves = read_curves(folder.metrics());
  const auto last = [&](const std::string& score) -> std::optional<double> {
    const auto tasks = curves.evaluation.find(score);
    if (tasks == curves.evaluation.end() || !tasks->second.count("task")) return std::nullopt;
    return tasks->second.at("task").values.back();
  };
  result.validation = last(result.metric);
  result.validation_loss = last("loss");
  if (result.validation) result.curve = curves.evaluation.at(result.metric).at("task");
  return result;
}

std::optional<double> TriedRate::median() const {
  std::vector<double> values;
  for (const auto& result : results) {
    if (!result || !result->validation) return std::nullopt;
    values.push_back(*result->validation);
  }
  if (values.empty()) return std::nullopt;
  return echo::median(values);
}

double TriedRate::mean_loss() const {
  double sum = 0;
  for (const auto& result : results) {
    if (!result || !result->validation_loss) return std::numeric_limits<double>::infinity();
    sum += *result->validation_loss;
  }
  return sum / static_cast<double>(std::max<size_t>(1, results.size()));
}

std::optional<size_t> best_rate(const std::vector<TriedRate>& rates) {
  std::optional<size_t> best;
  const auto rank = [&](size_t i) {
    const auto& results = rates[i].results;
    const bool lower = lower_is_better(results.front()->metric);
    return std::pair(lower ? *rates[i].median() : -*rates[i].median(), rates[i].mean_loss());
  };
  for (size_t i = 0; i < rates.size(); ++i) {
    if (rates[i].median() && (!best || rank(i) < rank(*best))) best = i;
  }
  return best;
}

bool Group::at_edge(const Bench& bench) const {
  if (!rate || bench.rates.size() < 3) return false;
  const auto [low, high] = std::minmax_element(bench.rates.begin(), bench.rates.end());
  return *rate == *low || *rate == *high;
}

std::string BenchResults::metric() const {
  for (const Group& group : groups) {
    for (const auto& [seed, result] : group.by_seed) return result.metric;
  }
  return "accuracy";
}

Json rows_json(const Bench& bench, const BenchResults& results) {
  Json rows = Json::array();
  for (const Group& group : results.groups) {
    for (const auto& [seed, result] : group.by_seed) {
      Json row = cell_json(bench, group, seed, result);
      add_result(row, result);
      row.update(slices_json(result));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

Json results_json(const Bench& bench, const BenchResults& results) {
  Json content = {{"bench", bench.name},
                  {"quick", bench.quick},
                  {"cells", results.cells},
                  {"finished", results.finished},
                  {"rows", rows_json(bench, results)},
                  {"summary", Json::array()},
                  {"rates", Json::array()},
                  {"failures", Json::array()}};
  for (const Group& group : results.groups) {
    if (!group.by_seed.empty()) content["summary"].push_back(group_json(bench, group));
    for (const Json& row : tried_json(bench, group)) content["rates"].push_back(row);
  }
  for (const Failure& failure : results.failures)
    content["failures"].push_back({{"cell", failure.cell}, {"reason", failure.reason}});
  return content;
}

std::string results_csv(const Bench& bench, const BenchResults& results) {
  const Json rows = rows_json(bench, results);
  std::vector<std::string> columns;
  std::set<std::string> known;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row.items()) {
      if (known.insert(name).second) columns.push_back(name);
    }
  }
  std::string text;
  for (const std::string& column : columns) text += (text.empty() ? "" : ",") + csv_word(column);
  text += "\n";
  for (const Json& row : rows) {
    std::string line;
    for (size_t i = 0; i < columns.size(); ++i) {
      line += (i == 0 ? "" : ",") +
              (row.contains(columns[i]) ? csv_word(row[columns[i]]) : std::string());
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace echo
