#include "trainers/text.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace echo {

namespace {

template <class... Values>
std::string printed(const char* format, Values... values) {
  std::array<char, 64> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, values...);
  return buffer.data();
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds >= 365.0 * 86400) return "> 1 year";
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return printed("%lld:%02lld", whole / 60, whole % 60);
  if (whole < 86400) return printed("%lldh%02lldm", whole / 3600, whole / 60 % 60);
  return printed("%lldd%02lldh", whole / 86400, whole / 3600 % 24);
}

std::string count_text(double count) {
  constexpr std::array<const char*, 5> kUnits = {"", "k", "M", "G", "T"};
  size_t unit = 0;
  while (count >= 999.5 && unit + 1 < kUnits.size()) {
    count /= 1000;
    ++unit;
  }
  return printed(unit == 0 || count >= 99.95 ? "%.0f%s" : "%.1f%s", count, kUnits[unit]);
}

std::string bytes_text(int64_t bytes) {
  constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return printed("%.1f %s", value, kUnits[unit]);
}

std::string number_text(double value) { return printed("%.4g", value); }

std::string program_name() {
  const char* name = std::getenv("ECHO_COMMAND");
  return name && *name ? name : "echo-lm";
}

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./,:=@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char letter : word) quoted += letter == '\'' ? "'\\''" : std::string(1, letter);
  return quoted + "'";
}

}  // namespace echo
