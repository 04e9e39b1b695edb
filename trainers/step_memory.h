#pragma once

#include "framework/src/accounting/workload.h"
#include "framework/src/recipe/recipe.h"

#include <echo/registry.h>

#include <cstdint>
#include <optional>
#include <string>

namespace echo {

// A recipe's steps as its task deals them out. Data that is not there, or too small, does not keep
// anybody from counting: then `missing` says what is wrong, and every position counts as scored.
struct TaskWorkload {
  Workload workload;
  std::string missing;
};
TaskWorkload task_workload(const Recipe& recipe, const Registry& registry);

// The most bytes that tensors hold during the second step of a training (the optimiser's state is
// there then), parameters included, samples not: what Account::peak() predicts. Runs both steps on
// the CPU.
int64_t measured_peak(const Recipe& recipe, const Registry& registry);

// Bytes that the system could give now; none where it does not say.
std::optional<int64_t> available_bytes();

}  // namespace echo
