#include "trainers/distributed/mesh.h"

namespace echo {

std::string Mesh::text() const {
  return std::to_string(data) + " x " + std::to_string(sequence) + (zero > 0 ? ", ZeRO-1" : "");
}

Mesh mesh_of(const Recipe& recipe) {
  const ParallelRecipe& parallel = recipe.parallel;
  return {.data = parallel.data.value_or(1), .sequence = parallel.sequence, .zero = parallel.zero};
}

std::optional<std::string> obstacle(const Mesh& mesh, int64_t batch, int64_t length) {
  if (batch < mesh.data)
    return "train.batch " + std::to_string(batch) + " has fewer rows than there are groups";
  if (length < mesh.sequence)
    return "a length of " + std::to_string(length) + " has fewer tokens than ranks share it";
  return std::nullopt;
}

}  // namespace echo
