#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace echo {

// One command of a .test file with what it must print; README.md describes the format.
struct Transcript {
  std::string title;
  std::string place;  // "help.test:12"
  std::string command;
  int terminal_columns = 0;         // 0: no terminal
  std::vector<std::string> needs;   // programs without which it is skipped
  std::vector<std::string> output;  // patterns of lines
  std::vector<std::string> mistakes;
  int code = 0;
};

// Throws std::runtime_error, with the place, for a line that it does not understand.
std::vector<Transcript> read_transcripts(const std::filesystem::path& file);

// Splits into lines, with control characters written as \x1b, and without the '\r' that a terminal
// puts before '\n'.
std::vector<std::string> visible_lines(const std::string& text);

// "..." in a pattern stands for any text; a pattern that is "..." for any number of lines.
bool matches(const std::vector<std::string>& patterns, const std::vector<std::string>& lines);

}  // namespace echo
