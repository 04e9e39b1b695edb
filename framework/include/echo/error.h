#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace echo {

// A place in a file that a person wrote: "recipes/a.yaml:12:7". Line and column count from 1; 0
// means unknown.
struct Location {
  std::string file;
  int line = 0;
  int column = 0;

  std::string text() const;
};

// A user's mistake or a condition that the user can change. The message says what, where, what is
// allowed and what to do, in one paragraph. The program prints it and leaves with exit code 2
// (ConfigError) or 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A mistake in a recipe, a command line or another file that the user wrote.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message) {}
  ConfigError(const Location& where, const std::string& message);
};

// Thrown by options, mixers and tasks for a value that is wrong beside others: names the field;
// whoever reads the recipe turns it into a ConfigError with the field's place.
class FieldError : public Error {
 public:
  FieldError(std::string field, const std::string& message)
      : Error(message), field_(std::move(field)) {}
  const std::string& field() const { return field_; }

 private:
  std::string field_;
};

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const std::string& message);
}

}  // namespace echo

// A bug in the program, not a user's mistake: throws std::logic_error with the place in the source.
#define ECHO_CHECK(condition, ...)                                                            \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      std::ostringstream echo_check_message;                                                  \
      echo_check_message << "" __VA_ARGS__;                                                   \
      ::echo::detail::check_failed(#condition, __FILE__, __LINE__, echo_check_message.str()); \
    }                                                                                         \
  } while (false)
