#pragma once

#include "framework/src/plugin/loader.h"
#include "trainers/console.h"
#include "trainers/trainer.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// What a person asks of `train`.
struct TrainRequest {
  std::string recipe;                  // file; empty: the folder's own, when resuming
  std::string run;                     // folder; empty: runs/<name of the recipe>
  bool resume = false;                 // go on with an unfinished run
  std::optional<int64_t> from;         // with resume: this checkpoint instead of the latest
  std::vector<std::string> overrides;  // "train.steps=100"
  std::string device;                  // empty: cpu, or when resuming the run's
  int64_t threads = 0;                 // 0: LibTorch's choice, or when resuming the run's
  std::string trace;                   // file; empty: none
  bool restarted = false;              // by a launcher: an unfinished run goes on
  std::vector<std::string> command;    // as it was typed, for environment.json
};

struct TrainResult {
  Outcome outcome = Outcome::finished;
  RunFolder folder;
  int64_t step = 0;
  nlohmann::ordered_json summary;  // content of summary.json; null when stopped
};

// Starts or resumes one run and takes it as far as it goes.
//
// Start: the run folder must be new. A finished one stays, and the run goes to <folder>-2; an
// unfinished one is refused, with the way to resume it.
// Resume: continues with the recipe in the folder. What is given beside it may differ only in
// train.steps, train.log_every, train.checkpoint and evaluate; anything else is refused and shown.
// An imported run, which has no step yet, may change all but its model.
//
// Throws ConfigError and Error before anything is trained, but for failures on the way.
// All ranks call it with the same request; the result's summary is the first one's.
TrainResult train(const TrainRequest& request, Plugins& plugins, Console& console, Ranks& ranks);
TrainResult train(const TrainRequest& request, Plugins& plugins, Console& console);  // alone

}  // namespace echo
