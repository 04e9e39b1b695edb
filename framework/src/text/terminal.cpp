#include "framework/src/text/terminal.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include <sys/ioctl.h>

namespace echo {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool locale_is_utf8() {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    locale = environment(name);
    if (!locale.empty()) break;
  }
  for (char& letter : locale) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

int64_t columns_variable() {
  const std::string text = environment("COLUMNS");
  int64_t width = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), width);
  return code == std::errc() && end == text.data() + text.size() && width > 0 ? width : 0;
}

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

const char* escape(Style style) {
  switch (style) {
    case Style::bold:
      return "\x1b[1m";
    case Style::dim:
      return "\x1b[2m";
    case Style::red:
      return "\x1b[1;31m";
    case Style::green:
      return "\x1b[32m";
    case Style::yellow:
      return "\x1b[33m";
  }
  return "";
}

}  // namespace

Terminal look_at(int descriptor) {
  Terminal terminal;
  terminal.utf8 = locale_is_utf8();
  terminal.interactive = ::isatty(descriptor) != 0;
  terminal.width = columns_variable();
  if (!terminal.interactive) return terminal;
  const std::string kind = environment("TERM");
  terminal.colour = environment("NO_COLOR").empty() && !kind.empty() && kind != "dumb";
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.width = size.ws_col;
  if (terminal.width == 0) terminal.width = 80;
  return terminal;
}

std::string styled(const Terminal& terminal, Style style, std::string_view text) {
  if (!terminal.colour) return std::string(text);
  return escape(style) + std::string(text) + "\x1b[0m";
}

int64_t columns(std::string_view text) {
  return std::count_if(text.begin(), text.end(), begins_character);
}

std::string cut(const Terminal& terminal, std::string_view text, int64_t width) {
  if (columns(text) <= width) return std::string(text);
  const std::string mark = terminal.utf8 ? "…" : "..";
  const int64_t room = std::max<int64_t>(0, width - columns(mark));
  size_t end = 0;
  for (int64_t taken = 0; end < text.size(); ++end) {
    if (begins_character(text[end]) && taken++ == room) break;
  }
  return std::string(text.substr(0, end)) + mark;
}

std::string wrap(std::string_view text, int64_t width, int64_t indent) {
  if (width <= 0) return std::string(text);
  const std::string margin(static_cast<size_t>(indent), ' ');
  std::string lines;
  int64_t column = 0;
  bool fresh = true;  // nothing but the margin stands on this line
  const auto break_line = [&] {
    lines += "\n" + margin;
    column = indent;
    fresh = true;
  };
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\n') {
      break_line();
      ++i;
      continue;
    }
    const size_t gap_end = std::min(text.find_first_not_of(' ', i), text.size());
    const size_t end = std::min(text.find_first_of(" \n", gap_end), text.size());
    const std::string_view gap = text.substr(i, gap_end - i);
    const std::string_view word = text.substr(gap_end, end - gap_end);
    if (!fresh && column + columns(gap) + columns(word) > width) {
      break_line();
      lines += word;
      column += columns(word);
    } else {
      lines += std::string(gap) + std::string(word);
      column += columns(gap) + columns(word);
    }
    fresh = fresh && word.empty();
    i = end;
  }
  return lines;
}

}  // namespace echo
