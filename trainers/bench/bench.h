#pragma once

#include "framework/src/recipe/recipe.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace echo {

// A bench file: one recipe, varied. Its cells are the product arms x grid x rates x seeds.
//
//     name: mqar
//     bench:
//       base: {extends: ../mqar/ska.yaml}     # a recipe, or the name of its file
//       arms:                                 # what is compared: a name and what it changes
//         attention: {model: {mixers: {recall: {kind: attention, heads: 2}}}}
//       grid: {task.pairs: [4, 8]}            # fields that take several values in every arm
//       rates: [1e-3, 3e-3]                   # of every arm and grid point the best one counts
//       rate_seeds: [100]                     # chosen with these seeds, on the validation split
//       seeds: [0, 1, 2]                      # and scored with these, on the test split
//       quick: {seeds: [0]}                   # laid over `bench` by --quick; null takes away
struct Bench {
  struct Arm {
    std::string name;
    Node changes;  // of the base
  };
  struct Axis {
    std::string path;  // "task.pairs"
    std::vector<Node> values;
  };

  std::string name;
  std::filesystem::path file;
  bool quick = false;
  std::vector<std::string> overrides;  // that it was read with
  Node base;
  std::vector<Arm> arms;
  std::vector<Axis> grid;
  std::vector<double> rates;        // empty: the recipes' own
  std::vector<int64_t> rate_seeds;  // never empty where there are several rates
  std::vector<int64_t> seeds;       // never empty
  std::string rate_field = "train.optimizer.peak_rate";

  void visit(Fields& fields);
};

// Overrides change the bench ("bench.seeds=[5,6]") or else its base ("train.steps=100"). Throws
// ConfigError for every mistake but those of the recipes, which combination() finds.
Bench read_bench(const std::filesystem::path& file, bool quick,
                 const std::vector<std::string>& overrides);

// An arm at one point of the grid.
struct Combination {
  size_t arm = 0;
  std::vector<size_t> point;  // index of the value of every axis

  bool operator<(const Combination& other) const;
};
std::vector<Combination> combinations(const Bench& bench);

// Values of the axes as they are written: {"task.pairs", "8"}.
std::vector<std::pair<std::string, std::string>> grid_values(const Bench& bench,
                                                             const Combination& combination);

// An axis of several values.
bool varies(const Bench& bench, const std::string& path);

// The recipe of a cell, not checked yet.
Node cell_tree(const Bench& bench, const Combination& combination, std::optional<double> rate,
               int64_t seed);

// "attention, task.pairs 8", of the axes that vary.
std::string combination_text(const Bench& bench, const Combination& combination);

// The file of a bench: a path, or the name of one that comes with the program ("mqar"). Throws
// ConfigError with the names that there are.
std::filesystem::path find_bench(const std::string& name);

}  // namespace echo
