#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// The config.json of a checkpoint, in the dialects of transformers 4 and 5. It remembers which
// fields were asked for, so that one that nobody knows is an error and never ignored. Null counts
// as not written. Every error is a ConfigError "FILE: field: value: what, what is allowed".
class Config {
 public:
  using Json = nlohmann::ordered_json;
  static constexpr int64_t kLargestCount = int64_t{1} << 24;  // no size of a model is larger

  static Config read(const std::filesystem::path& file);
  Config(std::string file, Json fields);

  const std::string& file() const { return file_; }

  // Marks the field as known. Null: not written.
  const Json* find(const std::string& field);
  bool is_written_null(const std::string& field) const;

  // From 1 to kLargestCount. Without a fallback the field must be there.
  int64_t count(const std::string& field, std::optional<int64_t> fallback = {});
  // Finite, or infinity where it is allowed. Infinity comes bare or as {"__float__": "Infinity"}.
  double number(const std::string& field, std::optional<double> fallback = {});
  double positive(const std::string& field, std::optional<double> fallback = {});
  bool flag(const std::string& field, bool fallback);
  std::string word(const std::string& field, const std::string& fallback);
  std::vector<double> numbers(const std::string& field, std::vector<double> fallback);

  // Fields that Echo has only one value for, or a few that mean the same.
  void only(const std::string& field, const std::vector<Json>& allowed, const std::string& reason);
  // Fields that change nothing that the model computes.
  void ignore(const std::vector<std::string>& fields);

  // Throws for the first field that nobody has asked for.
  void finish(const std::string& owner) const;

  [[noreturn]] void refuse(const std::string& field, const std::string& reason) const;

 private:
  const Json& required(const std::string& field);

  std::string file_;
  Json fields_;
  std::set<std::string> known_;
};

}  // namespace echo
