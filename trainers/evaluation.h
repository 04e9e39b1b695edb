#pragma once

#include "framework/src/model/model.h"
#include "framework/src/recipe/recipe.h"

#include <echo/registry.h>
#include <echo/task.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// A task that a run is scored on, ready to be used: the recipe's own, called "task", or one of
// evaluate.tasks.
std::unique_ptr<Task> evaluation_task(const Recipe& recipe, const Registry& registry,
                                      const std::string& name);

// All of them, the recipe's own first.
using NamedTasks = std::vector<std::pair<std::string, std::unique_ptr<Task>>>;
NamedTasks evaluation_tasks(const Recipe& recipe, const Registry& registry);

int64_t samples_of(const TaskInfo& info, Split split);

// The held-out split that a finished model is scored on: test, else validation, else none.
std::optional<Split> final_split(const TaskInfo& info);

// Scores one split. `progress` may throw to give up.
Scores evaluate(Model& model, const Task& task, Split split, int64_t batch,
                const std::function<void(int64_t done, int64_t total)>& progress);

// {"loss": 0.12, "accuracy": 0.99}; a score that counted nothing is left out.
nlohmann::ordered_json scores_json(const Scores& scores);

// The score that matters; none when it counted nothing.
std::optional<double> metric_of(const TaskInfo& info, const Scores& scores);

// Is this value of the metric better than that one?
bool better(const TaskInfo& info, double value, double than);

// Accuracy of at least 0.99. Tasks of other metrics are never solved.
bool solved(const TaskInfo& info, double value);

}  // namespace echo
