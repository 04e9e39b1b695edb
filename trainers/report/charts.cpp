#include "trainers/report/charts.h"

#include "trainers/text.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

constexpr size_t kMostPoints = 1200;    // of one series on the page
constexpr size_t kFewestToSmooth = 60;  // shorter curves are shown as they are

std::string value_text(double value) {
  return std::abs(value) >= 10000 ? count_text(value) : number_text(value);
}

Json series(const std::string& name, const std::string& style, int64_t colour, const Curve& curve) {
  Json points = Json::array();
  const Curve few = thinned(curve, kMostPoints);
  for (size_t i = 0; i < few.size(); ++i) {
    points.push_back({few.steps[i], few.values[i]});  // what is not finite is written as null
  }
  return {{"name", name}, {"style", style}, {"colour", colour}, {"points", points}};
}

// "training loss from 5.55 at step 10 to 1.71 at step 800, lowest 1.66 at step 780"
std::string described(const std::string& name, const Curve& curve) {
  size_t first = curve.size(), last = curve.size(), low = curve.size(), high = curve.size();
  size_t broken = 0;
  for (size_t i = 0; i < curve.size(); ++i) {
    if (!std::isfinite(curve.values[i])) {
      ++broken;
      continue;
    }
    if (first == curve.size()) first = low = high = i;
    last = i;
    if (curve.values[i] < curve.values[low]) low = i;
    if (curve.values[i] > curve.values[high]) high = i;
  }
  if (first == curve.size()) return name + " was never finite";
  const auto at = [&](size_t i) {
    return value_text(curve.values[i]) + " at step " + grouped(curve.steps[i]);
  };
  std::string text = name + " ";
  if (first == last) {
    text += at(first);
  } else {
    text += "from " + at(first) + " to " + at(last);
    if (low != first && low != last) text += ", lowest " + at(low);
    if (high != first && high != last) text += ", highest " + at(high);
  }
  if (broken == 1) text += ", not finite at one step";
  if (broken > 1) text += ", not finite at " + std::to_string(broken) + " steps";
  return text;
}

class Chart {
 public:
  Chart(const std::string& id, const std::string& title) : id_(id), title_(title) {}

  // Many points: as they are, and their running mean where they are dense.
  void add_dense(const std::string& name, const Curve& curve) {
    if (curve.size() < kFewestToSmooth) {
      add_line(name, curve);
      return;
    }
    describe(name, curve);
    const size_t window = std::max<size_t>(5, curve.size() / 40);
    series_.push_back(series(name, "raw", colours_, curve));
    const std::string mean = name + ", mean of " + std::to_string(window) + " points";
    series_.push_back(series(mean, "line", colours_++, running_mean(curve, window)));
  }
  void add_line(const std::string& name, const Curve& curve) {
    describe(name, curve);
    series_.push_back(series(name, "line", colours_++, curve));
  }
  // Validation scores: the recipe's own task first; a task has one colour in all charts.
  void add_scores(const std::map<std::string, Curve>& tasks) {
    colours_ = 1;
    const auto add = [this](const std::string& name, const Curve& curve) {
      describe(name, curve);
      series_.push_back(series(name, "scores", colours_++, curve));
    };
    const auto own = tasks.find("task");
    if (own != tasks.end()) add("validation", own->second);
    for (const auto& [task, curve] : tasks) {
      if (task != "task") add("validation, " + task, curve);
    }
  }
  void add_level(const std::string& name, double value, double last_step) {
    Curve curve;
    curve.add(0, value);
    curve.add(last_step, value);
    series_.push_back(series(name + " " + number_text(value), "level", 0, curve));
    texts_.push_back(name + " " + number_text(value));
  }

  bool empty() const { return series_.empty(); }
  Json json() const {
    std::string text;
    for (const std::string& part : texts_) text += (text.empty() ? "" : "; ") + part;
    if (!text.empty()) text[0] = static_cast<char>(std::toupper(text[0]));
    return {{"id", id_}, {"title", title_}, {"text", text + "."}, {"series", series_}};
  }

 private:
  void describe(const std::string& name, const Curve& curve) {
    texts_.push_back(described(name, curve));
  }

  std::string id_;
  std::string title_;
  std::vector<std::string> texts_;
  Json series_ = Json::array();
  int64_t colours_ = 0;  // used so far
};

Chart loss_chart(const Curves& curves) {
  Chart chart("loss", "Loss");
  const auto training = curves.training.find("loss");
  if (training != curves.training.end()) chart.add_dense("training", training->second);
  const auto scores = curves.evaluation.find("loss");
  if (scores != curves.evaluation.end()) chart.add_scores(scores->second);
  return chart;
}

// A score that is the same at every evaluation tells nothing: it stands in the table.
bool changes(const std::map<std::string, Curve>& tasks) {
  return std::any_of(tasks.begin(), tasks.end(), [](const auto& task) {
    const std::vector<double>& values = task.second.values;
    return values.size() == 1 ||
           std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) != values.end();
  });
}

Chart score_chart(const std::string& score, const std::map<std::string, Curve>& tasks,
                  const Curves& curves, const Json& summary) {
  Chart chart(score, title_of(score));
  chart.add_scores(tasks);
  if (!summary.is_object() || summary.value("metric", "") != score) return chart;
  const Json levels = summary.value("/final/task/levels"_json_pointer, Json::object());
  for (const auto& [name, value] : levels.items()) {
    if (value.is_number())
      chart.add_level(name, value.get<double>(), static_cast<double>(curves.last_step));
  }
  return chart;
}

void add_training(std::vector<Chart>& list, const Curves& curves, const std::string& name,
                  void (Chart::*add)(const std::string&, const Curve&)) {
  const auto curve = curves.training.find(name);
  if (curve == curves.training.end()) return;
  Chart chart(name, title_of(name));
  std::string words = name;
  std::replace(words.begin(), words.end(), '_', ' ');
  (chart.*add)(words, curve->second);
  list.push_back(chart);
}

}  // namespace

std::string grouped(double value) {
  std::string text = std::to_string(static_cast<int64_t>(value));
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<size_t>(at), "\u202f");  // narrow space
  }
  return text;
}

std::string title_of(const std::string& name) {
  std::string title = name;
  std::replace(title.begin(), title.end(), '_', ' ');
  if (!title.empty()) title[0] = static_cast<char>(std::toupper(title[0]));
  return title;
}

Json charts(const Curves& curves, const Json& summary) {
  std::vector<Chart> list = {loss_chart(curves)};
  for (const auto& [score, tasks] : curves.evaluation) {
    const bool matters = summary.is_object() && summary.value("metric", "") == score;
    if (score != "loss" && (matters || changes(tasks)))
      list.push_back(score_chart(score, tasks, curves, summary));
  }
  add_training(list, curves, "learning_rate", &Chart::add_line);
  add_training(list, curves, "gradient_norm", &Chart::add_dense);
  add_training(list, curves, "tokens_per_second", &Chart::add_dense);
  Chart auxiliary("auxiliary", "Auxiliary losses");
  for (const auto& [name, curve] : curves.training) {
    if (name.rfind("auxiliary/", 0) == 0) auxiliary.add_line(name.substr(10), curve);
  }
  list.push_back(auxiliary);
  Json result = Json::array();
  for (const Chart& chart : list) {
    if (!chart.empty()) result.push_back(chart.json());
  }
  return result;
}

}  // namespace echo
