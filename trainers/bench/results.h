#pragma once

#include "trainers/bench/cell.h"
#include "trainers/report/curves.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// What came out of a finished cell.
struct CellResult {
  std::filesystem::path run;
  std::string task;                  // its kind
  std::string metric;                // "accuracy", "bits_per_byte"
  std::optional<double> validation;  // the metric, of the finished model
  std::optional<double> validation_loss;
  std::optional<double> score;  // the metric on the test split, else on the validation split
  std::string split;            // that the score is of
  std::optional<double> best;   // over the evaluations while training
  std::optional<int64_t> steps_to_solve;
  std::map<std::string, double> slices;  // "64/4": the metric of a slice of the split
  std::string slice_by;                  // what their names are: "length/pairs"
  std::map<std::string, double> levels;  // chance levels
  int64_t parameters = 0;
  int64_t state_bytes = 0;
  int64_t length = 0;
  double tokens_per_second = 0;
  double seconds = 0;
  Curve curve;  // the metric over steps, on the validation split
};

// None: the run is not finished. Throws Error for one whose files are damaged.
std::optional<CellResult> read_cell(const std::filesystem::path& run);

bool lower_is_better(const std::string& metric);

// A rate with the validation scores that it reached, by its seeds; none: the run failed.
struct TriedRate {
  double rate = 0;
  std::vector<std::optional<CellResult>> results;

  std::optional<double> median() const;  // none where a run failed
  double mean_loss() const;              // infinite where a run failed
};

// The index of the best median; of equal ones the lower loss. None: no rate has one.
std::optional<size_t> best_rate(const std::vector<TriedRate>& rates);

// An arm at a point of the grid, with all that is known of it.
struct Group {
  Combination combination;
  std::vector<TriedRate> tried;  // empty: there was nothing to choose
  std::optional<double> rate;    // chosen, or the only one
  std::map<int64_t, CellResult> by_seed;

  // The rate stands at an end of a list of three or more, so a better one may lie beyond.
  bool at_edge(const Bench& bench) const;
};

double median(std::vector<double> values);  // of at least one

struct Failure {
  std::string cell;  // "attention, seed 3"
  std::string reason;
};

struct BenchResults {
  std::vector<Group> groups;
  std::vector<Failure> failures;
  int64_t cells = 0;     // in all
  int64_t finished = 0;  // of them

  std::string metric() const;  // of the first result; "accuracy" before there is one
};

// A row per group and seed: arm, task, grid values, seed, learning_rate, accuracy, ..
nlohmann::ordered_json rows_json(const Bench& bench, const BenchResults& results);
// All of it: rows, the rates that were tried, a summary per group, failures.
nlohmann::ordered_json results_json(const Bench& bench, const BenchResults& results);
std::string results_csv(const Bench& bench, const BenchResults& results);

}  // namespace echo
