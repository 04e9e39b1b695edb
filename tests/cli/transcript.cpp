#include "tests/cli/transcript.h"

#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace echo {

namespace {

const std::string kAny = "...";

bool line_matches(std::string_view pattern, std::string_view line) {
  const size_t gap = pattern.find(kAny);
  if (gap == std::string_view::npos) return pattern == line;
  if (line.substr(0, gap) != pattern.substr(0, gap)) return false;
  const std::string_view rest = pattern.substr(gap + kAny.size());
  for (size_t skip = gap; skip <= line.size(); ++skip) {
    if (line_matches(rest, line.substr(skip))) return true;
  }
  return false;
}

bool match_from(const std::vector<std::string>& patterns, size_t pattern,
                const std::vector<std::string>& lines, size_t line) {
  for (; pattern < patterns.size(); ++pattern, ++line) {
    if (patterns[pattern] == kAny) {
      for (size_t next = line; next <= lines.size(); ++next) {
        if (match_from(patterns, pattern + 1, lines, next)) return true;
      }
      return false;
    }
    if (line >= lines.size() || !line_matches(patterns[pattern], lines[line])) return false;
  }
  return line == lines.size();
}

// "@ terminal 60", "@ needs zsh".
void read_condition(Transcript& transcript, const std::string& text) {
  std::istringstream words(text);
  std::string name, value;
  words >> name;
  if (name == "terminal" && words >> transcript.terminal_columns) return;
  if (name == "needs" && words >> value) {
    transcript.needs.push_back(value);
    return;
  }
  throw std::runtime_error(transcript.place + ": '@ " + text + "' is neither terminal nor needs");
}

}  // namespace

std::vector<Transcript> read_transcripts(const std::filesystem::path& file) {
  std::vector<Transcript> transcripts;
  std::ifstream lines(file);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::string place = file.filename().string() + ":" + std::to_string(number);
    if (line.empty()) continue;
    const char mark = line[0];
    const std::string text = line.size() > 2 ? line.substr(2) : "";
    if (mark == '#') {
      transcripts.emplace_back();
      transcripts.back().title = text;
      transcripts.back().place = place;
      continue;
    }
    if (transcripts.empty()) throw std::runtime_error(place + ": a case begins with '# title'");
    Transcript& current = transcripts.back();
    if (mark == '@') {
      read_condition(current, text);
    } else if (mark == '$') {
      current.command += (current.command.empty() ? "" : "\n") + text;
    } else if (mark == '>') {
      current.output.push_back(text);
    } else if (mark == '!') {
      current.mistakes.push_back(text);
    } else if (mark == '=') {
      current.code = std::stoi(text);
    } else {
      throw std::runtime_error(place + ": a line begins with one of # @ $ > ! =");
    }
  }
  return transcripts;
}

std::vector<std::string> visible_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string raw; std::getline(stream, raw);) {
    if (!raw.empty() && raw.back() == '\r') raw.pop_back();
    std::string line;
    for (const char byte : raw) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned char>(byte));
      const bool control = static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f;
      line += control ? code : std::string(1, byte);
    }
    lines.push_back(line);
  }
  return lines;
}

bool matches(const std::vector<std::string>& patterns, const std::vector<std::string>& lines) {
  return match_from(patterns, 0, lines, 0);
}

}  // namespace echo
