#include "trainers/bench/bench_report.h"

#include "framework/src/files/file.h"
#include "trainers/report/charts.h"
#include "trainers/report/page.h"
#include "trainers/report/sections.h"
#include "trainers/text.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

// Lines of one group, or of one arm: twelve can be told apart.
constexpr int64_t kColours = 6;

Json series(const std::string& name, const std::string& style, size_t index, Json points) {
  const auto number = static_cast<int64_t>(index);
  return {{"name", name},
          {"style", style},
          {"colour", number % kColours},
          {"dashed", number / kColours % 2 == 1},
          {"points", std::move(points)}};
}

// (x, scores of the seeds) of one arm.
using Points = std::map<double, std::vector<double>>;

Json medians(const Points& points) {
  Json list = Json::array();
  for (const auto& [x, scores] : points) list.push_back({x, median(scores)});
  return list;
}

Json all(const Points& points) {
  Json list = Json::array();
  for (const auto& [x, scores] : points) {
    for (const double score : scores) list.push_back({x, score});
  }
  return list;
}

std::string described(const std::string& name, const Points& points) {
  std::string text;
  for (const auto& [x, scores] : points) {
    text += (text.empty() ? "" : ", ") + number_text(median(scores)) + " at " +
            (x < 10000 ? number_text(x) : grouped(x));
  }
  return name + " " + text;
}

// A chart with a line of medians per name and every seed as a mark.
Json chart_of(const std::string& id, const std::string& title, const std::string& x_title, bool log,
              const std::vector<std::pair<std::string, Points>>& lines) {
  Json list = Json::array();
  const std::string note = "Medians over the seeds as a line, every seed as a dot";
  std::string text = note;
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto& [name, points] = lines[i];
    if (points.empty()) continue;
    list.push_back(series(name, "scores", i, medians(points)));
    list.push_back(series(name, "marks", i, all(points)));
    text += "; " + described(name, points);
  }
  return {{"id", id},
          {"title", title},
          {"text", text + "."},
          {"note", note + "."},
          {"x", {{"title", x_title}, {"log", log}}},
          {"y", {{"unit_interval", true}}},
          {"series", list}};
}

// The number at the end of "64/4".
std::optional<double> last_number(const std::string& slice) {
  const size_t begin = slice.find_last_not_of("0123456789.") + 1;
  if (begin >= slice.size()) return std::nullopt;
  return std::atof(slice.c_str() + begin);
}

// What the points of the grid are called, beside the arm.
std::string point_text(const Bench& bench, const Group& group, const std::string& without = "") {
  std::string text;
  for (const auto& [path, value] : grid_values(bench, group.combination)) {
    if (path != without && varies(bench, path)) text += ", " + path + " " + value;
  }
  return bench.arms[group.combination.arm].name + text;
}

void add(std::vector<std::pair<std::string, Points>>& lines, const std::string& name, double x,
         double score) {
  auto line = std::find_if(lines.begin(), lines.end(),
                           [&](const auto& other) { return other.first == name; });
  if (line == lines.end()) line = lines.insert(line, {name, {}});
  line->second[x].push_back(score);
}

std::string slice_title(const BenchResults& results) {
  for (const Group& group : results.groups) {
    for (const auto& [seed, result] : group.by_seed) {
      const size_t slash = result.slice_by.rfind('/');
      if (!result.slice_by.empty())
        return slash == std::string::npos ? result.slice_by : result.slice_by.substr(slash + 1);
    }
  }
  return "slice";
}

Json slices_chart(const Bench& bench, const BenchResults& results) {
  std::vector<std::pair<std::string, Points>> lines;
  for (const Group& group : results.groups) {
    for (const auto& [seed, result] : group.by_seed) {
      if (result.slices.size() < 2) continue;
      for (const auto& [slice, score] : result.slices) {
        if (const auto x = last_number(slice)) add(lines, point_text(bench, group), *x, score);
      }
    }
  }
  if (lines.empty()) return nullptr;
  const std::string axis = slice_title(results);
  return chart_of("slices", title_of(results.metric()) + " over " + axis, axis, true, lines);
}

// One chart for every axis of the grid whose values are numbers.
std::vector<Json> grid_charts(const Bench& bench, const BenchResults& results) {
  std::vector<Json> charts;
  for (const Bench::Axis& axis : bench.grid) {
    const bool numbers = std::all_of(axis.values.begin(), axis.values.end(), [](const Node& value) {
      return value.is_scalar() && !value.quoted &&
             std::isdigit(static_cast<unsigned char>(value.text[0]));
    });
    if (!numbers || axis.values.size() < 2) continue;
    std::vector<std::pair<std::string, Points>> lines;
    for (const Group& group : results.groups) {
      for (const auto& [path, value] : grid_values(bench, group.combination)) {
        if (path != axis.path) continue;
        for (const auto& [seed, result] : group.by_seed) {
          if (result.score)
            add(lines, point_text(bench, group, axis.path), std::atof(value.c_str()),
                *result.score);
        }
      }
    }
    const std::string name = axis.path.substr(axis.path.rfind('.') + 1);
    if (!lines.empty()) {
      charts.push_back(chart_of("grid-" + std::to_string(charts.size()),
                                title_of(results.metric()) + " over " + name, axis.path, true,
                                lines));
    }
  }
  return charts;
}

Json state_chart(const Bench& bench, const BenchResults& results) {
  std::vector<std::pair<std::string, Points>> lines;
  for (const Group& group : results.groups) {
    for (const auto& [seed, result] : group.by_seed) {
      if (result.score)
        add(lines, bench.arms[group.combination.arm].name, static_cast<double>(result.state_bytes),
            *result.score);
    }
  }
  if (lines.empty()) return nullptr;
  return chart_of("state", title_of(results.metric()) + " over state bytes",
                  "bytes that one sequence keeps between two tokens", true, lines);
}

Json curves_chart(const Bench& bench, const Group& group, size_t index, int64_t threads) {
  const std::string name = combination_text(bench, group.combination);
  Json list = Json::array();
  std::string text = group.rate ? "Rate " + number_text(*group.rate) : "The recipe's rate";
  std::string commands;
  size_t colour = 0;
  for (const auto& [seed, result] : group.by_seed) {
    Json points = Json::array();
    for (size_t i = 0; i < result.curve.size(); ++i)
      points.push_back({result.curve.steps[i], result.curve.values[i]});
    list.push_back(series("seed " + std::to_string(seed), "scores", colour++, std::move(points)));
    text += "; seed " + std::to_string(seed) + " " +
            (result.score ? number_text(*result.score) : "without a score") +
            (result.steps_to_solve ? ", solved at step " + std::to_string(*result.steps_to_solve)
                                   : ", not solved");
    commands += cell_command(
                    result, bench.arms[group.combination.arm].name + "-seed" + std::to_string(seed),
                    threads) +
                "\n";
  }
  if (list.empty()) return nullptr;
  return {{"id", "curves-" + std::to_string(index)},
          {"title", name},
          {"text", text + "."},
          {"command", commands},
          {"y", {{"unit_interval", true}}},
          {"series", list}};
}

std::string scores_text(const Group& group) {
  std::string text;
  for (const auto& [seed, result] : group.by_seed)
    text += (text.empty() ? "" : " ") + (result.score ? number_text(*result.score) : "–");
  return text;
}

std::string steps_text(const Group& group) {
  std::string text;
  for (const auto& [seed, result] : group.by_seed) {
    text += (text.empty() ? "" : " ") +
            (result.steps_to_solve ? std::to_string(*result.steps_to_solve) : std::string("–"));
  }
  return text;
}

std::string table_part(const Bench& bench, const BenchResults& results) {
  std::string rows;
  for (const Group& group : results.groups) {
    if (group.by_seed.empty()) continue;
    const CellResult& first = group.by_seed.begin()->second;
    std::vector<double> scores, speeds;
    for (const auto& [seed, result] : group.by_seed) {
      if (result.score) scores.push_back(*result.score);
      speeds.push_back(result.tokens_per_second);
    }
    const std::vector<std::string> cells = {
        combination_text(bench, group.combination),
        group.rate ? number_text(*group.rate) + (group.at_edge(bench) ? " *" : "") : "–",
        scores.empty() ? "–" : number_text(median(scores)),
        scores_text(group),
        steps_text(group),
        grouped(static_cast<double>(first.parameters)),
        bytes_text(first.state_bytes),
        count_text(median(speeds))};
    rows += "<tr>";
    for (const std::string& cell : cells) rows += "<td>" + html(cell) + "</td>";
    rows += "</tr>\n";
  }
  if (rows.empty()) return "";
  const std::string metric = results.metric();
  return "<section class=\"wide\"><h2>Results</h2><div class=\"scroll\"><table><thead><tr>"
         "<th>Arm</th><th>Rate</th><th>Median " +
         html(metric) + "</th><th>By seed</th><th>Steps to solve, by seed</th><th>Parameters</th>" +
         "<th>State</th><th>Tokens/s</th></tr></thead><tbody>\n" + rows +
         "</tbody></table></div><p class=\"note\">Solved: the first evaluation with at least 0.99. "
         "State: what one sequence keeps between two tokens. * The best rate stands at an end of "
         "the list; a better one may lie beyond.</p></section>";
}

std::string tiles_part(const Bench& bench, const BenchResults& results) {
  const auto tile = [](const std::string& name, const std::string& value) {
    return "<div><dt>" + html(name) + "</dt><dd>" + html(value) + "</dd></div>\n";
  };
  std::string seeds, rates;
  for (const int64_t seed : bench.seeds)
    seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  for (const double rate : bench.rates) rates += (rates.empty() ? "" : ", ") + number_text(rate);
  std::string text = tile("Cells finished", std::to_string(results.finished) + " of " +
                                                std::to_string(results.cells)) +
                     tile("Arms", std::to_string(bench.arms.size())) + tile("Seeds", seeds);
  if (!rates.empty()) text += tile("Learning rates", rates);
  return text;
}

std::string levels_text(const BenchResults& results) {
  std::string text;
  for (const Group& group : results.groups) {
    for (const auto& [seed, result] : group.by_seed) {
      for (const auto& [name, level] : result.levels)
        text += (text.empty() ? "chance levels: " : ", ") + name + " " + number_text(level);
      return text;
    }
  }
  return text;
}

std::string failures_part(const BenchResults& results) {
  std::string text;
  for (const Failure& failure : results.failures)
    text +=
        "<p class=\"note\">Failed: " + html(failure.cell) + ": " + html(failure.reason) + "</p>\n";
  return text;
}

}  // namespace

std::string bench_command(const fs::path& folder, const Bench& bench, int64_t threads) {
  std::string command = program_name() + " eval --bench " + shell_word(bench.file.string());
  if (bench.quick) command += " --quick";
  for (const std::string& change : bench.overrides) command += " --set " + shell_word(change);
  if (threads != 1) command += " --threads " + std::to_string(threads);
  return command + " --out " + shell_word(folder.string());
}

std::string cell_command(const CellResult& result, const std::string& name, int64_t threads) {
  return program_name() + " train " + shell_word((result.run / "recipe.yaml").string()) +
         " --run " + shell_word("runs/" + name) + " --threads " + std::to_string(threads);
}

Json bench_charts(const fs::path& folder, const Bench& bench, const BenchResults& results,
                  int64_t threads) {
  Json charts = Json::array();
  const auto keep = [&](Json chart, bool of_bench) {
    if (chart.is_null()) return;
    if (of_bench) chart["command"] = bench_command(folder, bench, threads) + "\n";
    if (lower_is_better(results.metric())) chart.erase("y");
    charts.push_back(std::move(chart));
  };
  keep(slices_chart(bench, results), true);
  for (Json& chart : grid_charts(bench, results)) keep(std::move(chart), true);
  keep(state_chart(bench, results), true);
  for (size_t i = 0; i < results.groups.size(); ++i)
    keep(curves_chart(bench, results.groups[i], i, threads), false);
  return charts;
}

void write_bench_report(const fs::path& folder, const Bench& bench, const BenchResults& results,
                        int64_t threads) {
  const Json list = bench_charts(folder, bench, results, threads);
  const bool done = results.finished == results.cells;
  const std::map<std::string, std::string> made = {
      {"title", html(bench.name + (bench.quick ? ", quick" : ""))},
      {"subtitle", html(levels_text(results))},
      {"plugins", ""},
      {"status", done ? "<p class=\"status done\">finished</p>"
                      : "<p class=\"status going\">not finished</p>"},
      {"tiles", tiles_part(bench, results)},
      {"figures", figures_part(list)},
      {"warning", failures_part(results)},
      {"scores", table_part(bench, results)},
      {"sample", ""},
      {"repeat", "<section><h2>Repeat it</h2><pre>" + html(bench_command(folder, bench, threads)) +
                     "</pre></section>"},
      {"details", ""},
      {"data", inside_script(list.dump(-1, ' ', false, Json::error_handler_t::replace))},
  };
  replace_file(folder / "report.html", page(made));
}

}  // namespace echo
