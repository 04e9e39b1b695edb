#pragma once

#include <string>
#include <string_view>

namespace echo {

// Makes UTF-8 out of bytes that come piece by piece: a character that is not complete yet is held
// back, what can never become one turns into U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish();  // what is held back will not be completed

 private:
  std::string held_;
};

// Text for a terminal: control characters but tabs and line ends are written as \x1b, so that they
// do nothing.
std::string harmless(std::string_view text);

}  // namespace echo
