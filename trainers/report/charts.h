#pragma once

#include "trainers/report/curves.h"

#include <nlohmann/json.hpp>

namespace echo {

// The charts of a page, for page.js: a list of {id, title, text, series}. `text` says
// what is to be seen. A series is {name, style, colour, points: [[step, value or null]..]}; style
// is raw (many noisy points), line, scores (few points), or level (a constant); equal colours
// belong together. `summary` is the content of summary.json, or null.
nlohmann::ordered_json charts(const Curves& curves, const nlohmann::ordered_json& summary);

// 12345.0 -> "12 345", of whole numbers.
std::string grouped(double value);

// "learning_rate" -> "Learning rate".
std::string title_of(const std::string& name);

}  // namespace echo
