#pragma once

#include "framework/src/plugin/loader.h"
#include "trainers/bench/bench.h"
#include "trainers/bench/results.h"
#include "trainers/console.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// What a person asks of `eval --bench`.
struct BenchRequest {
  std::string bench;  // a name, or a file
  bool quick = false;
  std::vector<std::string> overrides;
  std::filesystem::path out;  // empty: runs/bench/<name>, or <name>-quick
  int64_t jobs = 0;           // cells side by side; 0: one per core
  int64_t threads = 1;        // of each
  int64_t shard = 0;          // this of `shards` parts of the arms and grid points
  int64_t shards = 1;
  std::string device = "cpu";
  std::vector<std::string> plugins;  // files that every cell loads too
};

struct BenchOutcome {
  Bench bench;
  std::filesystem::path folder;
  BenchResults results;
  bool stopped = false;  // by a signal; the same command goes on
};

// Trains what is missing of a bench, cell by cell, each a run folder of its own, and writes
// results.csv, results.json and report.html. A cell that fails is shown and skipped. Cells that
// another process trains are waited for. Throws ConfigError before anything is trained.
BenchOutcome run_bench(const BenchRequest& request, Plugins& plugins, Console& console);

}  // namespace echo
