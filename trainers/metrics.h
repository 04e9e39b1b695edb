#pragma once

#include "trainers/checkpoint.h"

#include <filesystem>

#include <nlohmann/json.hpp>

namespace echo {

// metrics.jsonl: one JSON object per line, in the order of the run. Every line has `step`; steps
// never fall. Other programs read it while it grows: a line appears whole.
class MetricsWriter {
 public:
  // Opens for appending. Throws Error when the file cannot be written.
  explicit MetricsWriter(std::filesystem::path path);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  void write(const nlohmann::ordered_json& line);
  void sync();  // to the disk

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Keeps the lines up to where the checkpoint stands; the rest, and a line that was cut off, belong
// to a future that was lost. Replaces the file as a whole.
void truncate_metrics(const std::filesystem::path& path, const TrainerState& state);

}  // namespace echo
