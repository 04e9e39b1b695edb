#include "trainers/evaluation.h"

#include "framework/src/model/scoring.h"

#include <cmath>

namespace echo {

namespace {

constexpr double kSolved = 0.99;

}  // namespace

std::unique_ptr<Task> evaluation_task(const Recipe& recipe, const Registry& registry,
                                      const std::string& name) {
  const KindChoice& choice = name == "task" ? recipe.task : recipe.evaluate.tasks.at(name);
  std::unique_ptr<Task> task =
      make(registry.tasks, choice,
           TaskPlace{.seed = static_cast<uint64_t>(recipe.seed), .batch = recipe.train.batch});
  try {
    task->prepare();
  } catch (const FieldError& mistake) {
    throw choice.error(mistake);
  }
  return task;
}

NamedTasks evaluation_tasks(const Recipe& recipe, const Registry& registry) {
  NamedTasks tasks;
  tasks.emplace_back("task", evaluation_task(recipe, registry, "task"));
  for (const auto& [name, choice] : recipe.evaluate.tasks)
    tasks.emplace_back(name, evaluation_task(recipe, registry, name));
  return tasks;
}

int64_t samples_of(const TaskInfo& info, Split split) {
  if (split == Split::train) return info.train_samples;
  return split == Split::validation ? info.validation_samples : info.test_samples;
}

std::optional<Split> final_split(const TaskInfo& info) {
  if (info.test_samples > 0) return Split::test;
  if (info.validation_samples > 0) return Split::validation;
  return std::nullopt;
}

Scores evaluate(Model& model, const Task& task, Split split, int64_t batch,
                const std::function<void(int64_t done, int64_t total)>& progress) {
  ModelEvaluator evaluator(model, batch, progress);
  return task.evaluate(evaluator, split);
}

nlohmann::ordered_json scores_json(const Scores& scores) {
  nlohmann::ordered_json values = nlohmann::ordered_json::object();
  for (const auto& [name, score] : scores) {
    if (score.count > 0 && std::isfinite(score.sum)) values[name] = score.mean();
  }
  return values;
}

std::optional<double> metric_of(const TaskInfo& info, const Scores& scores) {
  const auto found = scores.find(info.metric);
  if (found == scores.end() || found->second.count <= 0 || !std::isfinite(found->second.sum))
    return std::nullopt;
  return found->second.mean();
}

bool better(const TaskInfo& info, double value, double than) {
  return info.metric == "bits_per_byte" ? value < than : value > than;
}

bool solved(const TaskInfo& info, double value) {
  return info.metric == "accuracy" && value >= kSolved;
}

}  // namespace echo
