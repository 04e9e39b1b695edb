#include "trainers/report/curves.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include <nlohmann/json.hpp>

namespace echo {

using nlohmann::json;

namespace {

constexpr double kNotFinite = std::numeric_limits<double>::quiet_NaN();

double value_of(const json& value) {
  return value.is_number() ? value.get<double>() : kNotFinite;  // JSON has null for it
}

void read_evaluation(const json& tasks, double step, Curves& curves) {
  for (const auto& [task, scores] : tasks.items()) {
    if (!scores.is_object()) continue;
    for (const auto& [score, value] : scores.items()) {
      const bool slice = score.find('/') != std::string::npos;
      if (!slice) curves.evaluation[score][task].add(step, value_of(value));
    }
  }
}

void read_line(const json& line, Curves& curves) {
  const double step = line["step"].get<double>();
  curves.last_step = std::max(curves.last_step, static_cast<int64_t>(step));
  for (const auto& [name, value] : line.items()) {
    if (name == "eval" && value.is_object()) {
      read_evaluation(value, step, curves);
    } else if (name == "auxiliary" && value.is_object()) {
      for (const auto& [part, loss] : value.items())
        curves.training["auxiliary/" + part].add(step, value_of(loss));
    } else if (name == "seconds" && value.is_number()) {
      curves.seconds = value.get<double>();
    } else if (name != "step" && (value.is_number() || value.is_null())) {
      curves.training[name].add(step, value_of(value));
    }
  }
}

// The places that represent the points [begin, end).
void choose(const Curve& curve, size_t begin, size_t end, std::vector<size_t>& chosen) {
  size_t low = end, high = end, broken = end;
  for (size_t i = begin; i < end; ++i) {
    if (!std::isfinite(curve.values[i])) {
      broken = i;
      continue;
    }
    if (low == end || curve.values[i] < curve.values[low]) low = i;
    if (high == end || curve.values[i] > curve.values[high]) high = i;
  }
  std::vector<size_t> places = {begin, low, high, broken, end - 1};
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  for (const size_t place : places) {
    if (place < end) chosen.push_back(place);
  }
}

}  // namespace

void Curve::add(double step, double value) {
  steps.push_back(step);
  values.push_back(value);
}

Curves read_curves(const std::filesystem::path& metrics) {
  std::ifstream file(metrics, std::ios::binary);
  if (!file) throw Error("cannot read " + metrics.string() + ", so there is nothing to report");
  Curves curves;
  for (std::string text; std::getline(file, text);) {
    const bool whole = !file.eof();
    const json line = json::parse(text, nullptr, false);
    if (line.is_object() && line.contains("step") && line["step"].is_number()) {
      read_line(line, curves);
    } else if (whole && !text.empty()) {
      ++curves.unreadable_lines;
    }
  }
  return curves;
}

Curve thinned(const Curve& curve, size_t most) {
  if (curve.size() <= most) return curve;
  const size_t stretches = std::max<size_t>(1, most / 4);
  const double first = curve.steps.front();
  const double length = (curve.steps.back() - first) / static_cast<double>(stretches);
  std::vector<size_t> chosen;
  size_t begin = 0;
  for (size_t stretch = 1; stretch <= stretches && begin < curve.size(); ++stretch) {
    const double limit = first + length * static_cast<double>(stretch);
    size_t end = begin;
    while (end < curve.size() && (curve.steps[end] < limit || stretch == stretches)) ++end;
    if (end > begin) choose(curve, begin, end, chosen);
    begin = end;
  }
  Curve result;
  for (const size_t place : chosen) result.add(curve.steps[place], curve.values[place]);
  return result;
}

Curve running_mean(const Curve& curve, size_t window) {
  Curve result;
  const size_t before = window / 2;
  double sum = 0;
  size_t count = 0, begin = 0, end = 0;
  for (size_t i = 0; i < curve.size(); ++i) {
    for (; end < std::min(curve.size(), i + before + 1); ++end) {
      if (!std::isfinite(curve.values[end])) continue;
      sum += curve.values[end];
      ++count;
    }
    for (; begin + before < i; ++begin) {
      if (!std::isfinite(curve.values[begin])) continue;
      sum -= curve.values[begin];
      --count;
    }
    result.add(curve.steps[i], count > 0 ? sum / static_cast<double>(count) : kNotFinite);
  }
  return result;
}

}  // namespace echo
