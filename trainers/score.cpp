#include "trainers/score.h"

#include "framework/src/text/near.h"
#include "trainers/evaluation.h"
#include "trainers/run.h"

#include <echo/error.h>

namespace echo {

namespace {

// A kind of task in place of the recipe's own.
bool is_kind(const ScoreRequest& request, const Registry& registry) {
  return registry.tasks.find(request.task) != nullptr;
}

std::vector<std::string> task_names(const Recipe& recipe) {
  std::vector<std::string> names = {"task"};
  for (const auto& [name, choice] : recipe.evaluate.tasks) names.push_back(name);
  return names;
}

std::vector<std::string> chosen_tasks(const ScoreRequest& request, const Recipe& recipe) {
  const std::vector<std::string> names = task_names(recipe);
  if (request.task.empty()) return names;
  for (const std::string& name : names) {
    if (name == request.task) return {name};
  }
  const std::string near = did_you_mean(request.task, names);
  throw ConfigError("--task " + request.task + ": the run " + request.run +
                    " has no such task, and no kind of task is called so" +
                    (near.empty() ? "; it" : near + " It") + " has " + join(names));
}

Split chosen_split(const ScoreRequest& request, const std::string& name, const TaskInfo& info) {
  if (request.split && samples_of(info, *request.split) > 0) return *request.split;
  std::string known;
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    if (samples_of(info, split) > 0)
      known += (known.empty() ? "" : ", ") + std::string(split_name(split));
  }
  const std::optional<Split> split = final_split(info);
  if (!request.split && split) return *split;
  throw ConfigError("the task '" + name + "' of " + request.run + " has no samples in the split " +
                    (request.split ? split_name(*request.split) : "test or validation") +
                    (known.empty() ? "" : "; it has " + known));
}

}  // namespace

std::vector<TaskScores> score_run(const ScoreRequest& request, Plugins& plugins, Console& console) {
  LoadRunOptions options{.device = request.device, .overrides = {}};
  const bool kind = is_kind(request, plugins.registry());
  if (kind) options.overrides.push_back("task={kind: " + request.task + "}");
  options.overrides.insert(options.overrides.end(), request.overrides.begin(),
                           request.overrides.end());
  const LoadedRun run = load_run(request.run, plugins, options);

  std::vector<TaskScores> results;
  const std::vector<std::string> names =
      kind ? std::vector<std::string>{"task"} : chosen_tasks(request, run.recipe);
  for (const std::string& name : names) {
    const std::unique_ptr<Task> task = evaluation_task(run.recipe, plugins.registry(), name);
    TaskScores result{.task = kind ? request.task : name, .step = run.step, .info = task->info()};
    result.split = chosen_split(request, result.task, result.info);
    result.samples = samples_of(result.info, result.split);
    result.length = result.info.length;
    result.state_bytes = run.model->initial_state(1, result.length).bytes();
    result.scores = evaluate(*run.model, *task, result.split, run.recipe.evaluate.batch.value(),
                             [&](int64_t done, int64_t total) {
                               console.progress([&](int64_t) {
                                 return request.run + ": scoring " + result.task + ", " +
                                        std::to_string(done) + " of " + std::to_string(total) +
                                        " samples";
                               });
                             });
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace echo
