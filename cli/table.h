#pragma once

#include "framework/src/text/terminal.h"

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo::cli {

// One value of a table: what JSON says, and what people read.
struct Cell {
  nlohmann::ordered_json value;
  std::string text;
};

Cell word(const std::string& text);
Cell count(int64_t value);                  // 1,234,567
Cell number(double value, int digits = 4);  // significant digits; "-" where not finite
Cell bytes(int64_t value);                  // 1.5 MiB
Cell nothing();                             // null, "-"

// Results as rows. Numbers stand right, words left. Where a line is wider than the terminal,
// columns of words are cut, the widest first; a table that still does not fit is printed as one
// paragraph per row.
class Table {
 public:
  // A column's name is its key in JSON; people see it with spaces for underscores.
  explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}

  void add(std::vector<Cell> cells);  // one per column
  bool empty() const { return rows_.empty(); }

  std::string text(const Terminal& terminal) const;
  nlohmann::ordered_json json() const;  // a list of objects
  void print(bool as_json) const;       // to stdout

 private:
  std::vector<int64_t> widths() const;
  bool shrink(std::vector<int64_t>& widths, const Terminal& terminal) const;
  bool is_number(size_t column) const;
  std::string paragraphs(const Terminal& terminal) const;

  std::vector<std::string> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// "name  value" lines to stdout, the names aligned and the values wrapped.
void print_pairs(const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace echo::cli
