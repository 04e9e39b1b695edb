#include "trainers/report/sections.h"

#include "framework/src/plugin/note.h"
#include "framework/src/text/near.h"
#include "trainers/report/charts.h"
#include "trainers/report/page.h"
#include "trainers/text.h"

#include <cstdlib>
#include <set>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

// The scalar at "train.steps", or nothing.
std::string scalar(const Node& tree, const std::string& path) {
  const Node* node = &tree;
  std::istringstream keys(path);
  for (std::string key; std::getline(keys, key, '.');) {
    node = node->find(key);
    if (!node) return "";
  }
  return node->text;
}

class Tiles {
 public:
  void add(const std::string& name, const std::string& value, const std::string& note = "") {
    text_ += "<div><dt>" + html(name) + "</dt><dd>" + html(value) +
             (note.empty() ? "" : "<small>" + html(note) + "</small>") + "</dd></div>\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void add_result(Tiles& tiles, const ReportFacts& facts) {
  const Json& summary = facts.summary;
  const std::string metric = summary.value("metric", "");
  const Json own = summary.value("/final/task"_json_pointer, Json::object());
  const Json score = own.value(nlohmann::ordered_json::json_pointer("/scores/" + metric), Json());
  if (score.is_number()) {
    tiles.add("Final " + title_of(metric).replace(0, 1, metric.substr(0, 1)),
              number_text(score.get<double>()), own.value("split", "") + " set");
  }
  if (summary.contains("best") && summary["best"].is_number())
    tiles.add("Best on validation", number_text(summary["best"].get<double>()));
  const Json solved = summary.value("steps_to_solve", Json());
  if (solved.is_number()) {
    tiles.add("Steps to solve", grouped(solved.get<double>()));
  } else if (metric == "accuracy") {
    tiles.add("Steps to solve", "–", "not solved");
  }
}

std::string scores_rows(const Json& scores, const std::string& task) {
  std::string rows;
  for (const auto& [name, value] : scores.items()) {
    rows += "<tr><td>" + html(task) + "</td><td>" + html(title_of(name)) + "</td><td>" +
            (value.is_number() ? number_text(value.get<double>()) : "–") + "</td></tr>\n";
  }
  return rows;
}

// Plugins and resumptions in a line each.
std::string entry_text(const Json& entry) {
  if (!entry.is_object()) return entry.is_string() ? entry.get<std::string>() : entry.dump();
  if (entry.contains("from_step")) {
    return "from step " + entry["from_step"].dump() + ", " + entry.value("began", "") + ", " +
           entry.value("device", "") + ", " + entry.value("threads", Json()).dump() + " threads";
  }
  std::string text = entry.value("name", "") + " " + entry.value("version", "");
  return entry.value("builtin", false) ? text : text + " from " + entry.value("path", "");
}

// A row for each plugin of a list that is no part of the program and that no row has shown yet.
std::string plugin_rows(const Json& list, const std::string& since, std::set<std::string>& shown) {
  std::string rows;
  for (const Json& plugin : list) {
    if (!plugin.is_object() || plugin.value("builtin", Json()) != false) continue;
    const std::string where =
        plugin.value("path", "") + "\nSHA-256 " + plugin.value("sha256", "unknown");
    const std::string name = plugin.value("name", "") + " " + plugin.value("version", "");
    if (!shown.insert(name + where).second) continue;
    const Fingerprint note(plugin.value("fingerprint", ""));
    rows += "<div><dt>" + html(name) + "</dt><dd>" + html(since + join(note.kinds())) + "\n<code>" +
            html(where) + "</code></dd></div>\n";
  }
  return rows;
}

// The command that repeats a figure, folded away.
std::string command_text(const std::string& command) {
  if (command.empty()) return "";
  return "<details class=\"command\"><summary>Repeat it</summary><pre>" + html(command) +
         "</pre></details>";
}

}  // namespace

std::string title_part(const ReportFacts& facts) {
  const std::string name = scalar(facts.tree, "name");
  return html(name.empty() ? fs::absolute(facts.run).filename().string() : name);
}

// "task language_model · 4 blocks of width 128 · ska, attention, swiglu"
std::string subtitle_part(const ReportFacts& facts) {
  std::string text = "task " + scalar(facts.tree, "task.kind");
  const Node* model = facts.tree.find("model");
  if (!model) return html(text);
  if (const Node* blocks = model->find("blocks")) {
    text += " · " + std::to_string(blocks->items.size()) + " blocks of width " +
            scalar(facts.tree, "model.width");
  }
  std::set<std::string> kinds;
  if (const Node* mixers = model->find("mixers")) {
    for (const Node::Entry& entry : mixers->entries) kinds.insert(scalar(entry.value, "kind"));
  }
  std::string list;
  for (const std::string& kind : kinds) list += (list.empty() ? "" : ", ") + kind;
  return html(list.empty() ? text : text + " · " + list);
}

std::string status_part(const ReportFacts& facts) {
  const std::string step = grouped(static_cast<double>(facts.curves.last_step));
  const std::string steps = scalar(facts.tree, "train.steps");
  if (facts.summary.is_object()) return "<p class=\"status done\">finished</p>";
  return "<p class=\"status going\">not finished: step " + step +
         (steps.empty() ? "" : " of " + grouped(std::atof(steps.c_str()))) + "</p>";
}

std::string tiles_part(const ReportFacts& facts) {
  Tiles tiles;
  const bool finished = facts.summary.is_object();
  const Json summary = finished ? facts.summary : Json::object();
  if (finished) add_result(tiles, facts);
  if (summary.contains("parameters"))
    tiles.add("Parameters", grouped(summary["parameters"].get<double>()));
  const Json own = summary.value("/final/task"_json_pointer, Json::object());
  if (own.contains("state_bytes")) {
    tiles.add("State", bytes_text(own["state_bytes"].get<int64_t>()),
              "one sequence of " + grouped(own.value("length", 0.0)) + " tokens");
  }
  const auto& training = facts.curves.training;
  const auto latest = [&](const std::string& name) {
    const auto curve = training.find(name);
    return curve == training.end() ? 0.0 : curve->second.values.back();
  };
  tiles.add("Steps", grouped(static_cast<double>(facts.curves.last_step)),
            count_text(summary.value("tokens", latest("tokens"))) + " tokens");
  tiles.add("Time", duration_text(summary.value("seconds", facts.curves.seconds)),
            count_text(summary.value("tokens_per_second", latest("tokens_per_second"))) +
                " tokens per second");
  return tiles.text();
}

std::string scores_part(const ReportFacts& facts) {
  if (!facts.summary.is_object() || !facts.summary.contains("final")) return "";
  std::string rows;
  for (const auto& [task, content] : facts.summary["final"].items()) {
    std::string name = task;
    if (content.contains("split")) {
      name += ", " + content["split"].get<std::string>() + " set of " +
              grouped(content.value("samples", 0.0)) + " samples";
    }
    rows += scores_rows(content.value("scores", Json::object()), name);
  }
  if (rows.empty()) return "";
  return "<section><h2>Final scores</h2><table><thead><tr><th>Task</th><th>Score</th>"
         "<th>Value</th></tr></thead><tbody>\n" +
         rows + "</tbody></table></section>";
}

std::string sample_part(const ReportFacts& facts) {
  if (!facts.sample.is_object()) return "";
  return "<section><h2>Sample</h2><p class=\"note\">" + html(facts.sample.value("note", "")) +
         "</p><pre class=\"prose\"><b>" + html(facts.sample.value("prompt", "")) + "</b>" +
         html(facts.sample.value("text", "")) + "</pre></section>";
}

std::string plugins_part(const ReportFacts& facts) {
  if (!facts.environment.is_object()) return "";
  std::set<std::string> shown;
  std::string rows = plugin_rows(facts.environment.value("plugins", Json::array()), "", shown);
  for (const Json& entry : facts.environment.value("resumed", Json::array())) {
    if (!entry.is_object()) continue;
    rows += plugin_rows(entry.value("plugins", Json::array()),
                        "after step " + entry.value("from_step", Json()).dump() + ": ", shown);
  }
  if (rows.empty()) return "";
  return "<section><h2>Plugins</h2><dl class=\"facts\">" + rows + "</dl></section>";
}

std::string repeat_part(const ReportFacts& facts) {
  const std::string run = facts.run.lexically_normal().string();
  std::string text =
      "<section><h2>Repeat it</h2><p class=\"note\">From the resolved recipe, into "
      "another folder:</p><pre>" +
      html(program_name() + " train " + shell_word(run + "/recipe.yaml") + " --run " +
           shell_word(run + "-again")) +
      "</pre>";
  std::string command;
  if (facts.environment.is_object()) {
    for (const Json& word : facts.environment.value("command", Json::array())) {
      if (word.is_string()) command += (command.empty() ? "" : " ") + shell_word(word);
    }
  }
  if (!command.empty())
    text += "<p class=\"note\">It was started by:</p><pre>" + html(command) + "</pre>";
  return text + "</section>";
}

std::string recipe_part(const ReportFacts& facts) {
  return "<details><summary>Recipe, every default written out</summary><pre>" + html(facts.recipe) +
         "</pre></details>";
}

std::string environment_part(const ReportFacts& facts) {
  if (!facts.environment.is_object()) return "";
  std::string rows;
  for (const auto& [name, value] : facts.environment.items()) {
    if (name == "command") continue;  // stands under "Repeat it"
    std::string text = value.is_array() ? "" : entry_text(value);
    if (value.is_array()) {
      for (const Json& entry : value) text += (text.empty() ? "" : "\n") + entry_text(entry);
    }
    rows += "<div><dt>" + html(title_of(name)) + "</dt><dd>" + html(text) + "</dd></div>\n";
  }
  return "<details><summary>Environment</summary><dl class=\"facts\">" + rows + "</dl></details>";
}

std::string figures_part(const Json& charts) {
  std::string text;
  for (const Json& chart : charts) {
    const std::string id = html(chart["id"].get<std::string>());
    const std::string said = html(chart["text"].get<std::string>());
    text += "<figure id=\"chart-" + id + "\"><figcaption><h2>" +
            html(chart["title"].get<std::string>()) +
            "</h2><button type=\"button\" aria-pressed=\"false\" hidden>log scale</button>"
            "</figcaption><div class=\"plot\"><canvas role=\"img\" aria-label=\"" +
            said + "\"></canvas></div><p class=\"note\">" +
            html(chart.value("note", chart["text"].get<std::string>())) + "</p>" +
            command_text(chart.value("command", "")) + "</figure>\n";
  }
  return text.empty() ? "<p class=\"note\">Nothing has been measured yet.</p>" : text;
}

std::string warning_part(const ReportFacts& facts) {
  if (facts.curves.unreadable_lines == 0) return "";
  return "<p class=\"note\">" + std::to_string(facts.curves.unreadable_lines) +
         " lines of metrics.jsonl could not be read and are left out.</p>";
}

}  // namespace echo
