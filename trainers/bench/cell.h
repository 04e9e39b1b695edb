#pragma once

#include "framework/src/plugin/loader.h"
#include "trainers/bench/bench.h"
#include "trainers/run.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace echo {

// One run of a bench.
struct Cell {
  Combination combination;
  std::optional<double> rate;  // none: the recipe's own
  int64_t seed = 0;
  int64_t steps = 0;
  std::string key;     // names its folder: cells/<key>
  std::string recipe;  // resolved
};

// Makes the cells of a bench and gives them their keys. Equal keys mean equal results, so that a
// cell that is finished is never run again and one whose result has become another never used. A
// key is the SHA-256 of
//   - the resolved recipe, without its name;
//   - the strangers' plugins that are loaded, by their content;
//   - the text or set that the task reads, by its fingerprint;
//   - kNumerics;
//   - a probe: losses and gradient norms of the first steps of a small batch, to four digits. It
//     sees what a changed mixer, task or optimiser does, without anybody having to say so.
class CellMaker {
 public:
  CellMaker(const Bench& bench, Plugins& plugins);

  // Throws ConfigError, naming the arm, for a recipe that is wrong.
  Cell make(const Combination& combination, std::optional<double> rate, int64_t seed);

 private:
  Recipe read(const Combination& combination, std::optional<double> rate, int64_t seed);
  const std::string& probe(const Combination& combination);
  const Task& task(const Recipe& recipe);

  const Bench& bench_;
  Plugins& plugins_;
  std::string strangers_;  // fingerprint of the plugins
  std::map<Combination, std::string> probes_;
  std::map<std::string, std::unique_ptr<Task>> tasks_;  // prepared, by their resolved options
};

// Raised by whoever changes results in a way that the probe cannot see, as late in training.
constexpr int64_t kNumerics = 1;

}  // namespace echo
