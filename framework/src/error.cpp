#include <echo/error.h>

namespace echo {

std::string Location::text() const {
  std::string text = file;
  if (line > 0) text += ":" + std::to_string(line);
  if (line > 0 && column > 0) text += ":" + std::to_string(column);
  return text;
}

namespace {

// "FILE:3:7: train.steps: message". An override's place, "--set train.steps", names the field
// already, so the message does not say it again.
std::string placed(const std::string& place, const std::string& message) {
  const size_t colon = message.find(": ");
  const bool named = colon != std::string::npos && place.ends_with(" " + message.substr(0, colon));
  return place + (named ? message.substr(colon) : ": " + message);
}

}  // namespace

ConfigError::ConfigError(const Location& where, const std::string& message)
    : Error(placed(where.text(), message)) {}

namespace detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::string text =
      std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition;
  if (!message.empty()) text += ": " + message;
  throw std::logic_error(text);
}

}  // namespace detail

}  // namespace echo
