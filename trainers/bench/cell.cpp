#include "trainers/bench/cell.h"

#include "framework/src/files/sha256.h"
#include "framework/src/recipe/kinds.h"
#include "trainers/learner.h"
#include "trainers/step_data.h"

#include <algorithm>
#include <cstdio>

namespace echo {

namespace {

std::string four_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string strangers_of(const Plugins& plugins) {
  std::string text;
  for (const LoadedPlugin& plugin : plugins.loaded()) {
    if (!plugin.builtin) text += plugin.name + " " + sha256_file(plugin.path) + "\n";
  }
  return text;
}

// The first steps on four samples, as numbers that rounding on another machine leaves alone.
std::string first_steps(Recipe recipe, const Task& task, const Registry& registry) {
  constexpr int64_t kSteps = 3;
  recipe.train.batch = std::min<int64_t>(recipe.train.batch, 4);
  recipe.train.accumulation = 1;
  std::string text;
  try {
    Learner learner(recipe, registry, at::kCPU);
    const DataPlan plan{.task = &task, .batch = recipe.train.batch};
    for (int64_t step = 1; step <= kSteps; ++step) {
      const StepResult result = learner.step(step_data(plan, step));
      text += four_digits(result.loss.value_or(0)) + " " +
              four_digits(result.gradient_norm.value_or(0)) + "\n";
    }
  } catch (const NotFinite&) {
    text += "not finite\n";
  }
  return text;
}

}  // namespace

CellMaker::CellMaker(const Bench& bench, Plugins& plugins) : bench_(bench), plugins_(plugins) {
  for (const Combination& combination : combinations(bench)) {
    const Node tree = cell_tree(bench, combination, std::nullopt, 0);
    load_plugins(recipe_plugins(tree), plugins);
  }
  strangers_ = strangers_of(plugins);
}

Recipe CellMaker::read(const Combination& combination, std::optional<double> rate, int64_t seed) {
  try {
    return read_recipe(cell_tree(bench_, combination, rate, seed), plugins_.registry());
  } catch (const ConfigError& mistake) {
    throw ConfigError(std::string(mistake.what()) + " (in the bench's arm " +
                      combination_text(bench_, combination) + ")");
  }
}

const Task& CellMaker::task(const Recipe& recipe) {
  std::unique_ptr<Task>& task = tasks_[write_yaml(write_kind(recipe.task))];
  if (!task) {
    const TaskPlace place{.seed = static_cast<uint64_t>(recipe.seed), .batch = recipe.train.batch};
    auto made = echo::make(plugins_.registry().tasks, recipe.task, place);
    try {
      made->prepare();
    } catch (const FieldError& mistake) {
      throw recipe.task.error(mistake);
    }
    task = std::move(made);
  }
  return *task;
}

const std::string& CellMaker::probe(const Combination& combination) {
  const auto [found, is_new] = probes_.try_emplace(combination);
  if (is_new) {
    const Recipe recipe = read(combination, std::nullopt, bench_.seeds.front());
    const Task& data = task(recipe);
    found->second = data.fingerprint() + "\n" + first_steps(recipe, data, plugins_.registry());
  }
  return found->second;
}

Cell CellMaker::make(const Combination& combination, std::optional<double> rate, int64_t seed) {
  Recipe recipe = read(combination, rate, seed);
  Cell cell{.combination = combination,
            .rate = rate,
            .seed = seed,
            .steps = recipe.train.steps.value(),
            .recipe = resolved_yaml(recipe)};
  recipe.name = "cell";
  cell.key = sha256(resolved_yaml(recipe) + strangers_ + "numerics " + std::to_string(kNumerics) +
                    "\n" + probe(combination))
                 .substr(0, 16);
  return cell;
}

}  // namespace echo
