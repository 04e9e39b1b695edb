#include "trainers/distributed/mesh.h"

#include <echo/error.h>

#include <algorithm>

namespace echo {

namespace {

std::string ranks_text(int64_t count) {
  return std::to_string(count) + (count == 1 ? " rank" : " ranks");
}

}  // namespace

std::string Mesh::text() const {
  return std::to_string(data) + " x " + std::to_string(sequence) + (zero > 0 ? ", ZeRO-1" : "");
}

Mesh mesh_of(const Recipe& recipe) {
  const ParallelRecipe& parallel = recipe.parallel;
  return {.data = parallel.data.value_or(1), .sequence = parallel.sequence, .zero = parallel.zero};
}

Mesh mesh_of(const Recipe& recipe, int64_t ranks) {
  const ParallelRecipe& wanted = recipe.parallel;
  Mesh mesh = mesh_of(recipe);
  if (!wanted.data) mesh.data = std::max<int64_t>(1, ranks / wanted.sequence);
  if (mesh.ranks() != ranks) {
    const std::string product = "parallel.data " +
                                (wanted.data ? std::to_string(*wanted.data) : "null") +
                                " and parallel.sequence " + std::to_string(wanted.sequence);
    throw ConfigError(product + " make " + ranks_text(mesh.ranks()) + ", and " +
                      (ranks == 1 ? "there is " : "there are ") + std::to_string(ranks) +
                      "; start as many with --ranks " + std::to_string(mesh.ranks()) +
                      " or mpirun, or change the numbers with --set parallel.data=… and --set "
                      "parallel.sequence=…");
  }
  if (recipe.train.batch < mesh.data) {
    throw ConfigError("train.batch " + std::to_string(recipe.train.batch) +
                      " has fewer samples than parallel.data has groups (" +
                      std::to_string(mesh.data) +
                      "); take a larger batch, or more ranks for each sequence with --set "
                      "parallel.sequence=…");
  }
  return mesh;
}

std::optional<std::string> obstacle(const Mesh& mesh, int64_t batch, int64_t length) {
  if (batch < mesh.data)
    return "train.batch " + std::to_string(batch) + " has fewer rows than there are groups";
  if (length < mesh.sequence)
    return "a length of " + std::to_string(length) + " has fewer tokens than ranks share it";
  return std::nullopt;
}

}  // namespace echo
