#pragma once

#include "framework/src/model/model.h"
#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/run_folder.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace echo {

// Reads a recipe after the plugins that it names have been loaded. Afterwards it names all that it
// uses.
Recipe read_recipe_with_plugins(const std::filesystem::path& file,
                                const std::vector<std::string>& overrides, Plugins& plugins);

// The recipe of a run folder. A plugin that is loaded already is taken instead of a file of the
// same plugin that the run was made with. A ConfigError names those that are not loaded.
Recipe read_run_recipe(const RunFolder& folder, const std::vector<std::string>& overrides,
                       Plugins& plugins);

// Loads the plugins that a recipe names; a ConfigError has the place that names the one.
void load_plugins(const std::vector<RecipePlugin>& files, Plugins& plugins);

// A trained model, out of the run folder that holds it.
struct LoadedRun {
  RunFolder folder;
  std::filesystem::path checkpoint;
  int64_t step = 0;
  Recipe recipe;  // the folder's own, overrides applied
  std::unique_ptr<Model> model;
  std::unique_ptr<Task> task;  // the recipe's own; prepare() has not been called
};

struct LoadRunOptions {
  at::Device device = at::kCPU;
  std::vector<std::string> overrides;  // of the recipe's `task` and `evaluate` only
};

// `path` is a run folder (its latest checkpoint is loaded) or one of its checkpoints,
// runs/a/checkpoints/000400. Checks the checksum of the model's file. Throws ConfigError for a path
// that is no run, Error for a run without a whole checkpoint; both say what to do.
LoadedRun load_run(const std::filesystem::path& path, Plugins& plugins,
                   const LoadRunOptions& options = {});

// Throws as load_run() does where a path leads to no run or to no checkpoint; reads neither.
void check_run(const std::filesystem::path& path);

// "; did you mean 'runs/quickstart'?", or nothing: the run beside `path`, or in runs/, whose name
// is nearest.
std::string did_you_mean_run(const std::filesystem::path& path);

// The last whole checkpoint before `step`; none: there is none.
std::optional<int64_t> whole_before(const Checkpoints& checkpoints, int64_t step);

}  // namespace echo
