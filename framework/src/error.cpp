#include <echo/error.h>

namespace echo {

std::string Location::text() const {
  std::string text = file;
  if (line > 0) text += ":" + std::to_string(line);
  if (line > 0 && column > 0) text += ":" + std::to_string(column);
  return text;
}

ConfigError::ConfigError(const Location& where, const std::string& message)
    : Error(where.text() + ": " + message) {}

namespace detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::string text =
      std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition;
  if (!message.empty()) text += ": " + message;
  throw std::logic_error(text);
}

}  // namespace detail

}  // namespace echo
