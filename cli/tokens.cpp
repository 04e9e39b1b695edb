#include "cli/tokens.h"

#include "cli/input.h"
#include "cli/numbers.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <cctype>

namespace echo::cli {

namespace {

bool is_file(const std::string& text) { return text == "-" || text.rfind('@', 0) == 0; }

// Numbers with single commas between them, whatever stood there.
std::string with_commas(const std::string& content) {
  std::string list;
  for (const char letter : content) {
    const bool gap = std::isspace(static_cast<unsigned char>(letter)) || letter == ',';
    if (!gap) {
      list += letter;
    } else if (!list.empty() && list.back() != ',') {
      list += ',';
    }
  }
  if (!list.empty() && list.back() == ',') list.pop_back();
  return list;
}

}  // namespace

CLI::Validator token_list() {
  const auto check = [](std::string& text) -> std::string {
    return is_file(text) ? "" : whole_numbers()(text);
  };
  return {check, ""};
}

std::vector<int64_t> read_tokens(const std::string& text) {
  if (!is_file(text)) return split_numbers(text);
  const std::string name = "--tokens " + shell_word(text);
  std::string list = with_commas(read_input(text == "-" ? text : text.substr(1), name));
  if (list.empty()) throw ConfigError(name + " is empty; it takes whole numbers");
  const std::string mistake = whole_numbers()(list);
  if (!mistake.empty()) {
    constexpr size_t kLongest = 200;
    throw ConfigError(name + ": " + mistake.substr(0, kLongest) +
                      (mistake.size() > kLongest ? "..." : ""));
  }
  return split_numbers(list);
}

}  // namespace echo::cli
