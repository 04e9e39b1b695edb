#pragma once

#include "framework/src/accounting/workload.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/distributed/mesh.h"

#include <echo/registry.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// A recipe's steps as its task deals them out. Data that is not there, or too small, does not keep
// anybody from counting: then `missing` says what is wrong, and every position counts as scored.
struct TaskWorkload {
  Workload workload;           // of one process alone
  std::vector<double> scored;  // by position, the share of the samples; empty: all of them
  std::string missing;

  // The largest share that a rank has: of rows, of tokens, of scored ones.
  Workload of_rank(const Mesh& mesh) const;
};
TaskWorkload task_workload(const Recipe& recipe, const Registry& registry);

// The most bytes that tensors of one rank hold during the second step of a training (the
// optimiser's state is there then), parameters included, samples not: what Account::peak()
// predicts. Runs both steps on the CPU, in this process alone, with the rank's rows and tokens.
int64_t measured_peak(const Recipe& recipe, const Registry& registry, const Mesh& mesh);

// Bytes that the system could give now; none where it does not say.
std::optional<int64_t> available_bytes();

}  // namespace echo
