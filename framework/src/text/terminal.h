#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace echo {

// What may be written to a file descriptor. Anything but a terminal gets no control characters.
struct Terminal {
  bool interactive = false;  // a terminal: lines may be rewritten with '\r'
  bool colour = false;       // interactive, NO_COLOR unset or empty, TERM not "dumb"
  bool utf8 = false;         // the locale's characters are UTF-8
  int64_t width = 0;         // columns of the terminal, else those of COLUMNS; 0: without limit
};

Terminal look_at(int descriptor);

enum class Style { bold, dim, red, green, yellow };

// The text in a style where the terminal has colour, else the text.
std::string styled(const Terminal& terminal, Style style, std::string_view text);

// Columns that a UTF-8 text takes, one per code point.
int64_t columns(std::string_view text);

// The text cut to `width` columns, its end replaced by "…" or "..".
std::string cut(const Terminal& terminal, std::string_view text, int64_t width);

// Paragraphs broken at spaces into lines of at most `width` columns (0: not broken); every line but
// the first begins with `indent` spaces. A word that is longer stands on a line of its own.
std::string wrap(std::string_view text, int64_t width, int64_t indent = 0);

}  // namespace echo
