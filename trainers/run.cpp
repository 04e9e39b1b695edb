#include "trainers/run.h"

#include "framework/src/text/near.h"
#include "trainers/environment.h"
#include "trainers/provenance.h"
#include "trainers/recipe_plugins.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <fstream>

namespace echo {

namespace fs = std::filesystem;

namespace {

at::ScalarType activations(const Recipe& recipe) {
  return recipe.train.precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

// Where a path leads: a run folder and one of its checkpoints.
struct Target {
  RunFolder folder;
  fs::path checkpoint;
};

// Folders are told from other things by the recipe inside.
std::vector<std::string> runs_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;  // no such folder: no runs
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (fs::is_regular_file(RunFolder(entry.path()).recipe(), ignored))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

[[noreturn]] void refuse_missing(const fs::path& path) {
  const RunFolder folder(path.parent_path().parent_path());
  if (path.parent_path().filename() == "checkpoints" && fs::is_regular_file(folder.recipe())) {
    std::vector<std::string> names;
    for (const int64_t step : folder.checkpoints().steps())
      names.push_back(folder.checkpoints().path(step).filename().string());
    throw ConfigError("the run " + folder.path().string() + " has no checkpoint " +
                      path.filename().string() + "; it has " +
                      (names.empty() ? "none yet" : join(names)));
  }
  const std::string near = did_you_mean_run(path);
  throw ConfigError("there is no run folder " + path.string() +
                    (near.empty() ? "; g" : near + " G") +
                    "ive one that `train` wrote, as in runs/NAME");
}

Target find_target(const fs::path& path) {
  if (path.empty()) {
    throw ConfigError(
        "the run folder's name is empty; give one that `train` wrote, as in runs/NAME");
  }
  const fs::path clean = RunFolder(path).path();
  if (fs::is_regular_file(clean / kTrainerFile)) {
    const fs::path step = fs::is_symlink(clean) ? clean.parent_path() / fs::read_symlink(clean)
                                                : clean;  // checkpoints/latest
    const fs::path whole = fs::absolute(step).lexically_normal();
    return {RunFolder(whole.parent_path().parent_path()), step};
  }
  const RunFolder folder(clean);
  if (!fs::exists(clean)) refuse_missing(clean);
  if (!fs::is_regular_file(folder.recipe())) {
    throw ConfigError(clean.string() + " is no run folder: it has no recipe.yaml; give one that " +
                      "`train` wrote, as in runs/NAME");
  }
  const auto latest = folder.checkpoints().latest();
  if (!latest) {
    throw Error("the run " + clean.string() + " has no checkpoint yet; take it on with `" +
                how_to_resume(folder) + "`");
  }
  return {folder, folder.checkpoints().path(*latest)};
}

TrainerState verified(const Target& target) {
  try {
    return verify_checkpoint(target.checkpoint, CheckpointPart::model);
  } catch (const Error& damage) {
    const Checkpoints checkpoints = target.folder.checkpoints();
    std::string message = damage.what();
    for (const int64_t step : checkpoints.steps()) {
      if (checkpoints.path(step).filename() != target.checkpoint.filename()) continue;
      const auto before = whole_before(checkpoints, step);
      if (before) message += "; give " + checkpoints.path(*before).string() + ", which is whole";
    }
    throw Error(message);
  }
}

Recipe read_tree_with_plugins(const Node& tree, Plugins& plugins) {
  load_plugins(recipe_plugins(tree), plugins);
  Recipe recipe = read_recipe(tree, plugins.registry());
  name_plugins(recipe, plugins);
  return recipe;
}

// Overrides may change what a model is scored on, not what it is.
void check_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& change : overrides) {
    const std::string key = change.substr(0, change.find_first_of("=."));
    if (key == "task" || key == "evaluate") continue;
    throw ConfigError("--set " + change +
                      ": a trained model stays as it is; allowed here: task.* and evaluate.*");
  }
}

}  // namespace

void load_plugins(const std::vector<RecipePlugin>& files, Plugins& plugins) {
  for (const RecipePlugin& plugin : files) {
    try {
      plugins.load(plugin.path);
    } catch (const Error& mistake) {
      throw ConfigError(plugin.where, mistake.what());
    }
  }
}

Recipe read_recipe_with_plugins(const fs::path& file, const std::vector<std::string>& overrides,
                                Plugins& plugins) {
  return read_tree_with_plugins(read_tree(file.string(), overrides), plugins);
}

Recipe read_run_recipe(const RunFolder& folder, const std::vector<std::string>& overrides,
                       Plugins& plugins) {
  std::ifstream file(folder.environment());
  const auto environment = nlohmann::ordered_json::parse(file, nullptr, false);
  try {
    Node tree = read_tree(folder.recipe().string(), overrides);
    take_loaded_plugins(tree, environment, plugins);
    return read_tree_with_plugins(tree, plugins);
  } catch (const ConfigError& mistake) {
    throw ConfigError(mistake.what() + missing_plugins(environment, plugins.loaded()));
  }
}

void check_run(const fs::path& path) { find_target(path); }

std::string did_you_mean_run(const fs::path& path) {
  const fs::path place = path.parent_path();
  for (const fs::path& folder : {place, place / "runs"}) {
    const std::string name =
        near_name(path.filename().string(), runs_in(folder.empty() ? "." : folder));
    if (!name.empty()) return "; did you mean '" + (folder / name).string() + "'?";
  }
  return "";
}

std::optional<int64_t> whole_before(const Checkpoints& checkpoints, int64_t step) {
  std::vector<int64_t> steps = checkpoints.steps();
  std::reverse(steps.begin(), steps.end());
  for (const int64_t earlier : steps) {
    if (earlier >= step) continue;
    try {
      verify_checkpoint(checkpoints.path(earlier));
      return earlier;
    } catch (const Error&) {
    }
  }
  return std::nullopt;
}

namespace {

LoadedRun load_target(const Target& target, Plugins& plugins, const LoadRunOptions& options) {
  const TrainerState state = verified(target);
  LoadedRun run{.folder = target.folder, .checkpoint = target.checkpoint, .step = state.step};
  run.recipe = read_run_recipe(target.folder, options.overrides, plugins);
  run.model = std::make_unique<Model>(run.recipe.model, plugins.registry(),
                                      at::TensorOptions().dtype(at::kFloat).device(options.device),
                                      activations(run.recipe));
  load_parameters(target.checkpoint, *run.model);
  run.task = make(
      plugins.registry().tasks, run.recipe.task,
      TaskPlace{.seed = static_cast<uint64_t>(run.recipe.seed), .batch = run.recipe.train.batch});
  return run;
}

}  // namespace

LoadedRun load_run(const fs::path& path, Plugins& plugins, const LoadRunOptions& options) {
  check_overrides(options.overrides);
  while (true) {
    const Target target = find_target(path);
    try {
      return load_target(target, plugins, options);
    } catch (const Error&) {
      // A trainer may have put a newer checkpoint in the place of this one.
      if (fs::exists(target.checkpoint) || find_target(path).checkpoint == target.checkpoint) throw;
    }
  }
}

}  // namespace echo
