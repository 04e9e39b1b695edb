#pragma once

#include "framework/src/recipe/recipe.h"

#include <cstdint>
#include <optional>
#include <string>

namespace echo {

// How ranks share a run: `data` groups of them have rows of the batch, the `sequence` ranks of a
// group a part each of every row's tokens. With ZeRO-1 each rank keeps the optimiser's state of its
// own parameters only.
struct Mesh {
  int64_t data = 1;
  int64_t sequence = 1;
  int64_t zero = 0;  // 0 or 1, as parallel.zero

  int64_t ranks() const { return data * sequence; }
  std::string text() const;  // "4 x 2, ZeRO-1"
};

// Of a recipe's section `parallel`; where it leaves parallel.data open, of one group.
Mesh mesh_of(const Recipe& recipe);

// The same on so many ranks, as many groups as there are ranks for where it leaves that open.
// Throws ConfigError that gives the numbers where they do not fit together.
Mesh mesh_of(const Recipe& recipe, int64_t ranks);

// Why steps of `batch` rows of `length` tokens cannot be shared out so; none: they can.
std::optional<std::string> obstacle(const Mesh& mesh, int64_t batch, int64_t length);

}  // namespace echo
