#include "cli/numbers.h"

#include "trainers/text.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>

namespace echo::cli {

namespace {

constexpr int64_t kMost = int64_t{1} << 62;  // so that two can be added

// std::errc() and the number, invalid_argument for what is none, or result_out_of_range.
template <class Number>
std::errc read(const std::string& text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  return stop == end ? code : std::errc::invalid_argument;
}

std::string in_quotes(const std::string& text) { return "'" + text + "'"; }

std::string too_large(const std::string& text) { return "the number " + text + " is too large"; }

std::string check_whole(std::string& text, int64_t least, int64_t most) {
  int64_t number = 0;
  const std::errc code = read(text, number);
  const bool large = number > most || (code == std::errc::result_out_of_range && text[0] != '-');
  if (large && most == kMost) return too_large(text);
  if (code != std::errc() || number < least || number > most) {
    const std::string range =
        most == kMost ? ", " + std::to_string(least) + " or more,"
                      : " from " + std::to_string(least) + " to " + std::to_string(most) + ",";
    return "it takes a whole number" + range + " not " + in_quotes(text);
  }
  text = std::to_string(number);
  return "";
}

// "1,,2" has an empty one in the middle, "" is one that is empty.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char letter : text) {
    if (letter == ',') {
      parts.emplace_back();
    } else {
      parts.back() += letter;
    }
  }
  return parts;
}

// Bytes of a unit in small letters; none for what is no unit.
std::optional<double> unit_bytes(const std::string& unit) {
  if (unit.empty() || unit == "b") return 1;
  const std::string sizes = "kmgt";
  const size_t power = sizes.find(unit[0]);
  if (power == std::string::npos) return std::nullopt;
  const std::string rest = unit.substr(1);
  if (rest == "ib") return std::pow(1024.0, static_cast<double>(power + 1));
  if (rest == "b") return std::pow(1000.0, static_cast<double>(power + 1));
  return std::nullopt;
}

// "1.5 GiB" is "1.5" and "gib".
struct Amount {
  std::string number;
  std::string unit;  // in small letters
};

Amount split_amount(const std::string& text) {
  const size_t end = text.find_first_not_of("0123456789.");
  std::string unit = end == std::string::npos ? "" : text.substr(end);
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? 0 : unit.find_first_not_of(' '));
  for (char& letter : unit) letter = static_cast<char>(std::tolower(letter));
  return {text.substr(0, end), unit};
}

// The number of a text becomes that of its units. `takes`: what the text may be.
std::string check_amount(std::string& text, const std::string& takes,
                         const std::function<std::optional<double>(const std::string&)>& units) {
  const Amount amount = split_amount(text);
  double number = 0;
  const std::optional<double> factor = units(amount.unit);
  if (!factor || read(amount.number, number) != std::errc() || number * *factor < 1)
    return "it takes a number and a unit, " + takes + ", not " + in_quotes(text);
  if (number * *factor > static_cast<double>(kMost)) return "the size " + text + " is too large";
  text = std::to_string(static_cast<int64_t>(number * *factor));
  return "";
}

std::string check_size(std::string& text) {
  return check_amount(text, "KiB, MiB, GiB, TiB, KB, MB, GB, TB or none for bytes, as in 24GiB",
                      unit_bytes);
}

std::string check_bytes_per_second(std::string& text) {
  return check_amount(text, "KB/s, MB/s, GB/s, GiB/s or none for bytes per second, as in 50GB/s",
                      [](const std::string& unit) {
                        const std::string second = "/s";
                        return unit_bytes(unit.ends_with(second)
                                              ? unit.substr(0, unit.size() - second.size())
                                              : unit);
                      });
}

std::string check_operations(std::string& text) {
  return check_amount(text, "G, T or P for operations per second, as in 400T",
                      [](const std::string& unit) -> std::optional<double> {
                        if (unit.empty()) return 1;
                        if (unit == "g") return 1e9;
                        if (unit == "t") return 1e12;
                        if (unit == "p") return 1e15;
                        return std::nullopt;
                      });
}

}  // namespace

CLI::Validator size_in_bytes() { return {check_size, ""}; }

CLI::Validator bytes_per_second() { return {check_bytes_per_second, ""}; }

CLI::Validator operations_per_second() { return {check_operations, ""}; }

CLI::Validator whole_number(int64_t least, int64_t most) {
  return {[least, most](std::string& text) { return check_whole(text, least, most); }, ""};
}

CLI::Validator whole_number(int64_t least) { return whole_number(least, kMost); }

CLI::Validator real_number(double least, double most) {
  const auto check = [least, most](std::string& text) -> std::string {
    double number = 0;
    // The comparison refuses nan, too.
    if (read(text, number) == std::errc() && number >= least && number <= most) return "";
    return "it takes a number from " + number_text(least) + " to " + number_text(most) + ", not " +
           in_quotes(text);
  };
  return {check, ""};
}

CLI::Validator whole_numbers() {
  const auto check = [](std::string& text) -> std::string {
    for (const std::string& part : split(text)) {
      int64_t number = 0;
      const std::errc code = read(part, number);
      if (code == std::errc::result_out_of_range && part.front() != '-') return too_large(part);
      if (code == std::errc() && number >= 0) continue;
      return "it takes whole numbers with commas between them, as in 3,70,5, not " +
             in_quotes(text);
    }
    return "";
  };
  return {check, ""};
}

std::vector<int64_t> split_numbers(const std::string& text) {
  std::vector<int64_t> numbers;
  for (const std::string& part : split(text)) read(part, numbers.emplace_back());
  return numbers;
}

}  // namespace echo::cli
