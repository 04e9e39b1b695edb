#include "framework/src/import/config.h"

#include <echo/error.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

namespace echo {

namespace {

using Json = Config::Json;

constexpr const char* kFloat = "__float__";  // how transformers 5 writes what JSON has no form for

// transformers 4 writes a bare Infinity, which is no JSON: it becomes the form of version 5.
std::string with_tagged_floats(const std::string& text) {
  std::string result;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      result += text.substr(i, 2);
      ++i;
      continue;
    }
    if (text[i] == '"') quoted = !quoted;
    const auto is_here = [&](const char* word) {
      return !quoted && text.compare(i, std::strlen(word), word) == 0;
    };
    const char* word = nullptr;
    for (const char* candidate : {"-Infinity", "Infinity", "NaN"}) {
      if (!word && is_here(candidate)) word = candidate;
    }
    if (!word) {
      result += text[i];
      continue;
    }
    result += std::string("{\"") + kFloat + "\": \"" + word + "\"}";
    i += std::strlen(word) - 1;
  }
  return result;
}

// None: the value is no number.
std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_object() || value.size() != 1 || !value.contains(kFloat)) return std::nullopt;
  const Json& word = value[kFloat];
  if (word == "Infinity") return std::numeric_limits<double>::infinity();
  if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

std::string shortened(const Json& value) {
  constexpr size_t kLongest = 80;
  const std::string text = value.dump();
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

}  // namespace

Config Config::read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw ConfigError("cannot read " + file.string() + ": " + std::strerror(errno) +
                      "; give the folder of a Hugging Face checkpoint, with its config.json");
  }
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  Json fields = Json::parse(with_tagged_floats(text), nullptr, false);
  if (!fields.is_object()) {
    throw ConfigError(file.string() +
                      " is no JSON object; give the config.json that transformers wrote");
  }
  return {file.string(), std::move(fields)};
}

Config::Config(std::string file, Json fields)
    : file_(std::move(file)), fields_(std::move(fields)) {}

const Json* Config::find(const std::string& field) {
  known_.insert(field);
  const auto found = fields_.find(field);
  return found == fields_.end() || found->is_null() ? nullptr : &*found;
}

bool Config::is_written_null(const std::string& field) const {
  const auto found = fields_.find(field);
  return found != fields_.end() && found->is_null();
}

void Config::refuse(const std::string& field, const std::string& reason) const {
  const auto found = fields_.find(field);
  const std::string value = found == fields_.end() ? "" : shortened(*found) + ": ";
  throw ConfigError(file_ + ": " + field + ": " + value + reason);
}

const Json& Config::required(const std::string& field) {
  if (const Json* value = find(field)) return *value;
  throw ConfigError(file_ + ": " + field + ": is missing; the class cannot be built without it");
}

int64_t Config::count(const std::string& field, std::optional<int64_t> fallback) {
  if (fallback && !find(field)) return *fallback;
  const Json& value = required(field);
  const bool whole = value.is_number_integer() && value.get<int64_t>() >= 1 &&
                     value.get<int64_t>() <= kLargestCount;
  if (!whole) refuse(field, "it takes a whole number from 1 to " + std::to_string(kLargestCount));
  return value.get<int64_t>();
}

double Config::number(const std::string& field, std::optional<double> fallback) {
  if (fallback && !find(field)) return *fallback;
  const std::optional<double> value = number_of(required(field));
  if (!value || !std::isfinite(*value)) refuse(field, "it takes a number");
  return *value;
}

double Config::positive(const std::string& field, std::optional<double> fallback) {
  const double value = number(field, fallback);
  if (!(value > 0)) refuse(field, "it takes a number above 0");
  return value;
}

bool Config::flag(const std::string& field, bool fallback) {
  const Json* value = find(field);
  if (!value) return fallback;
  if (!value->is_boolean()) refuse(field, "it takes true or false");
  return value->get<bool>();
}

std::string Config::word(const std::string& field, const std::string& fallback) {
  const Json* value = find(field);
  if (!value) return fallback;
  if (!value->is_string()) refuse(field, "it takes a text");
  return value->get<std::string>();
}

std::vector<double> Config::numbers(const std::string& field, std::vector<double> fallback) {
  const Json* list = find(field);
  if (!list) return fallback;
  std::vector<double> values;
  if (!list->is_array()) refuse(field, "it takes a list of numbers");
  for (const Json& item : *list) {
    const std::optional<double> value = number_of(item);
    if (!value) refuse(field, "it takes a list of numbers");
    values.push_back(*value);
  }
  return values;
}

void Config::only(const std::string& field, const std::vector<Json>& allowed,
                  const std::string& reason) {
  const Json* value = find(field);
  if (!value || std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return;
  std::string words;
  for (const Json& word : allowed) words += (words.empty() ? "" : ", ") + word.dump();
  refuse(field, reason + "; allowed: " + (words.empty() ? "null" : words));
}

void Config::ignore(const std::vector<std::string>& fields) {
  known_.insert(fields.begin(), fields.end());
}

void Config::finish(const std::string& owner) const {
  for (const auto& [field, value] : fields_.items()) {
    if (known_.count(field)) continue;
    refuse(field, "Echo does not know this field of " + owner +
                      ", so it cannot tell what it changes; remove it if it changes nothing that "
                      "the model computes");
  }
}

}  // namespace echo
