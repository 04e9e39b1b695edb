#include "cli/table.h"

#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

constexpr int64_t kGap = 2;
constexpr int64_t kNarrowest = 12;  // a column of words is not cut below this

std::string title(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string padded(const std::string& text, int64_t width, bool right) {
  const std::string space(static_cast<size_t>(std::max<int64_t>(0, width - columns(text))), ' ');
  return right ? space + text : text + space;
}

void strip_end(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

int64_t sum(const std::vector<int64_t>& widths) {
  int64_t total = -kGap;
  for (const int64_t width : widths) total += width + kGap;
  return total;
}

}  // namespace

Cell word(const std::string& text) { return {text, text}; }

Cell nothing() { return {nullptr, "-"}; }

Cell count(int64_t value) {
  std::string text = std::to_string(value);
  const int64_t first = value < 0 ? 1 : 0;
  for (int64_t i = static_cast<int64_t>(text.size()) - 3; i > first; i -= 3) {
    text.insert(static_cast<size_t>(i), ",");
  }
  return {value, text};
}

Cell number(double value, int digits) {
  if (!std::isfinite(value)) return nothing();
  char text[64];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return {value, text};
}

Cell bytes(int64_t value) { return {value, bytes_text(value)}; }

void Table::add(std::vector<Cell> cells) {
  ECHO_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

bool Table::is_number(size_t column) const {
  return std::none_of(rows_.begin(), rows_.end(),
                      [column](const auto& row) { return row[column].value.is_string(); });
}

std::vector<int64_t> Table::widths() const {
  std::vector<int64_t> widths;
  for (size_t column = 0; column < columns_.size(); ++column) {
    int64_t width = columns(title(columns_[column]));
    for (const auto& row : rows_) width = std::max(width, columns(row[column].text));
    widths.push_back(width);
  }
  return widths;
}

// Cuts columns of words until a line fits. False: it cannot.
bool Table::shrink(std::vector<int64_t>& widths, const Terminal& terminal) const {
  while (terminal.width > 0 && sum(widths) > terminal.width) {
    int64_t* widest = nullptr;
    for (size_t column = 0; column < widths.size(); ++column) {
      const int64_t least = std::max(kNarrowest, columns(title(columns_[column])));
      if (is_number(column) || widths[column] <= least) continue;
      if (!widest || widths[column] > *widest) widest = &widths[column];
    }
    if (!widest) return false;
    --*widest;
  }
  return true;
}

std::string Table::text(const Terminal& terminal) const {
  std::vector<int64_t> width = widths();
  if (!shrink(width, terminal)) return paragraphs(terminal);
  const auto line = [&](const auto& text_of) {
    std::string line;
    for (size_t column = 0; column < columns_.size(); ++column) {
      const std::string text = cut(terminal, text_of(column), width[column]);
      line +=
          std::string(column == 0 ? 0 : kGap, ' ') + padded(text, width[column], is_number(column));
    }
    strip_end(line);
    return line;
  };
  std::string text =
      styled(terminal, Style::bold, line([&](size_t column) { return title(columns_[column]); })) +
      "\n";
  for (const auto& row : rows_) {
    text += line([&](size_t column) { return row[column].text; }) + "\n";
  }
  return text;
}

std::string Table::paragraphs(const Terminal& terminal) const {
  int64_t left = 0;
  for (const std::string& column : columns_) left = std::max(left, columns(title(column)));
  std::string text;
  for (const auto& row : rows_) {
    if (!text.empty()) text += "\n";
    for (size_t column = 0; column < columns_.size(); ++column) {
      const std::string value = cut(terminal, row[column].text, terminal.width - left - kGap);
      text += styled(terminal, Style::bold, padded(title(columns_[column]), left + kGap, false)) +
              value + "\n";
    }
  }
  return text;
}

nlohmann::ordered_json Table::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& row : rows_) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (size_t column = 0; column < columns_.size(); ++column) {
      object[columns_[column]] = row[column].value;
    }
    list.push_back(object);
  }
  return list;
}

void Table::print(bool as_json) const {
  if (as_json) {
    std::cout << json().dump(2) << "\n";
  } else {
    std::cout << text(look_at(STDOUT_FILENO));
  }
}

void print_pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  const Terminal terminal = look_at(STDOUT_FILENO);
  int64_t left = 0;
  for (const auto& [name, value] : pairs) left = std::max(left, columns(name));
  for (const auto& [name, value] : pairs) {
    const std::string start = padded(name, left + kGap, false);
    std::cout << start
              << wrap(std::string(start.size(), '.') + value, terminal.width, left + kGap)
                     .substr(start.size())
              << "\n";
  }
}

}  // namespace echo::cli
