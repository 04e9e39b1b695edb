#include "trainers/run_plan.h"

#include "trainers/environment.h"
#include "trainers/provenance.h"
#include "trainers/run.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <unistd.h>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

fs::path default_folder(const Recipe& recipe) { return fs::path("runs") / recipe.name; }

// Before anything slow: can the folder be written at all?
void check_writable(const RunFolder& folder) {
  fs::path place = fs::absolute(folder.path());
  while (!fs::exists(place) && place.has_relative_path()) place = place.parent_path();
  if (!fs::is_directory(place)) {
    throw ConfigError("the run folder " + folder.path().string() + " cannot be made: " +
                      place.string() + " is no folder; choose another one with --run");
  }
  if (::access(place.c_str(), W_OK | X_OK) == 0) return;
  throw Error("cannot write into " + place.string() + ": " + std::strerror(errno) +
              "; choose another run folder with --run");
}

RunPlan plan_start(const TrainRequest& request, Plugins& plugins) {
  if (request.recipe.empty()) {
    throw ConfigError("train needs a RECIPE, as in `" + program_name() +
                      " train recipes/quickstart.yaml`, or --resume with --run DIR");
  }
  if (request.from) throw ConfigError("--from needs --resume");
  RunPlan plan{.folder = RunFolder(""),
               .recipe = read_recipe_with_plugins(request.recipe, request.overrides, plugins)};
  plan.folder = RunFolder(request.run.empty() ? default_folder(plan.recipe) : fs::path(request.run))
                    .first_unfinished();
  const std::string path = plan.folder.path().string();
  switch (plan.folder.stage()) {
    case RunStage::foreign:
      throw ConfigError(path + " exists and is no run folder; choose another one with --run");
    case RunStage::unfinished:
      RunLock(plan.folder);  // when another process trains there it is not for us to go on with
      throw ConfigError("the run " + path + " is not finished; go on with it by `" +
                        how_to_resume(plan.folder) +
                        "`, begin another with --run DIR, or remove the folder");
    case RunStage::begun: {
      const Recipe stored = read_run_recipe(plan.folder, {}, plugins);
      const auto changes = recipe_changes(stored, plan.recipe);
      if (!changes.empty()) {
        throw ConfigError("the run " + path + " began with another recipe (" +
                          changes_text(changes) +
                          "); remove the folder or choose another one with --run");
      }
      break;
    }
    default:
      break;
  }
  check_writable(plan.folder);
  plan.device = request.device.empty() ? "cpu" : request.device;
  plan.threads = request.threads;
  return plan;
}

RunFolder folder_to_resume(const TrainRequest& request, Plugins& plugins) {
  if (request.recipe.empty() && request.run.empty())
    throw ConfigError("--resume needs a RECIPE or --run DIR, to know which run to go on with");
  fs::path path = request.run;
  if (path.empty()) {
    path = default_folder(read_recipe_with_plugins(request.recipe, request.overrides, plugins));
  }
  const RunFolder folder(path);
  const RunStage stage = folder.stage();
  if (stage == RunStage::absent || stage == RunStage::foreign) {
    const std::string near = did_you_mean_run(folder.path());
    throw ConfigError("there is no run to resume in " + folder.path().string() +
                      (near.empty() ? "; s" : near + " S") +
                      "tart it without --resume, or name its folder with --run");
  }
  const bool named = !request.run.empty();
  return stage == RunStage::finished && !named ? folder.last_existing() : folder;
}

void refuse_changes(const RunPlan& plan, const TrainRequest& request) {
  // Nothing has been learned yet in an imported run: only its model is given.
  const bool is_untrained = plan.folder.checkpoints().latest() == std::optional<int64_t>(0);
  std::vector<RecipeChange> refused;
  for (const RecipeChange& change : plan.changes) {
    if (is_untrained && !change.path.starts_with("model.")) continue;
    if (!may_change(change)) refused.push_back(change);
  }
  if (refused.empty()) return;
  throw ConfigError("the run " + plan.folder.path().string() + " has another recipe than " +
                    (request.recipe.empty() ? "--set asks for" : request.recipe) + ": " +
                    changes_text(refused) + ". To go on with the run's own: `" +
                    how_to_resume(plan.folder) +
                    "`; to train the other: choose another folder with --run");
}

// A checkpoint that is damaged is not passed over in silence: what came after the one before it
// would be lost without a word. None: the run has no checkpoint and begins again.
std::optional<int64_t> checkpoint_to_resume(const RunFolder& folder, const TrainRequest& request) {
  const Checkpoints checkpoints = folder.checkpoints();
  const std::optional<int64_t> chosen = request.from ? request.from : checkpoints.latest();
  if (!chosen) return std::nullopt;
  const int64_t step = *chosen;
  if (!fs::is_directory(checkpoints.path(step))) {
    std::string saved;
    for (const int64_t known : checkpoints.steps())
      saved += (saved.empty() ? "" : ", ") + std::to_string(known);
    throw ConfigError("--from " + std::to_string(step) + ": the run " + folder.path().string() +
                      " has no such checkpoint; it has " + (saved.empty() ? "none" : saved));
  }
  try {
    verify_checkpoint(checkpoints.path(step));
  } catch (const Error& damage) {
    const auto before = whole_before(checkpoints, step);
    if (!before)
      throw Error(std::string(damage.what()) + "; no earlier checkpoint is whole: start again");
    throw Error(std::string(damage.what()) + "; the checkpoint of step " + std::to_string(*before) +
                " is whole: `" + how_to_resume(folder) + " --from " + std::to_string(*before) +
                "` goes on from it and forgets what came later");
  }
  return step;
}

RunPlan plan_resume(const TrainRequest& request, Plugins& plugins) {
  RunPlan plan{.folder = folder_to_resume(request, plugins), .recipe = {}, .resumes = true};
  plan.lock = std::make_unique<RunLock>(plan.folder);
  // The recipe that is asked for comes first: its plugins take the place of the run's.
  if (!request.recipe.empty())
    plan.recipe = read_recipe_with_plugins(request.recipe, request.overrides, plugins);
  const Recipe stored = read_run_recipe(plan.folder, {}, plugins);
  if (request.recipe.empty())
    plan.recipe = read_run_recipe(plan.folder, request.overrides, plugins);
  plan.changes = recipe_changes(stored, plan.recipe);
  refuse_changes(plan, request);
  plan.checkpoint = checkpoint_to_resume(plan.folder, request);
  const int64_t steps = plan.recipe.train.steps.value();
  if (plan.checkpoint && *plan.checkpoint > steps) {
    throw ConfigError("the run " + plan.folder.path().string() + " is at step " +
                      std::to_string(*plan.checkpoint) + ", beyond train.steps " +
                      std::to_string(steps) + "; ask for more steps, or for an earlier --from");
  }
  if (plan.checkpoint) {
    plan.plugin_changes =
        plugin_changes(checkpoint_metadata(plan.folder.checkpoints().path(*plan.checkpoint)),
                       model_metadata(plan.recipe, plugins.loaded(), plugins.registry()));
  }
  // The same bits need the same device and number of threads.
  const Json environment = read_environment(plan.folder);
  plan.device = request.device.empty() ? environment["device"].get<std::string>() : request.device;
  plan.threads = request.threads > 0 ? request.threads : environment["threads"].get<int64_t>();
  return plan;
}

// A launcher that starts ranks again says so: then an unfinished run goes on by itself.
TrainRequest after_a_restart(TrainRequest request, Plugins& plugins) {
  if (!request.restarted || request.resume || request.recipe.empty()) return request;
  const fs::path wanted =
      request.run.empty()
          ? default_folder(read_recipe_with_plugins(request.recipe, request.overrides, plugins))
          : fs::path(request.run);
  const RunFolder folder = RunFolder(wanted).first_unfinished();
  if (folder.stage() != RunStage::unfinished) return request;
  request.resume = true;
  request.run = folder.path();
  return request;
}

RunPlan plan_alone(const TrainRequest& asked, Plugins& plugins) {
  const TrainRequest request = after_a_restart(asked, plugins);
  return request.resume ? plan_resume(request, plugins) : plan_start(request, plugins);
}

Json to_json(const RunPlan& plan) {
  Json content = {{"folder", plan.folder.path().string()},
                  {"recipe", resolved_yaml(plan.recipe)},
                  {"checkpoint", nullptr},
                  {"device", plan.device},
                  {"threads", plan.threads},
                  {"resumes", plan.resumes}};
  if (plan.checkpoint) content["checkpoint"] = *plan.checkpoint;
  return content;
}

RunPlan from_json(const Json& content, const TrainRequest& request, Plugins& plugins) {
  const Node tree = read_tree_text(content["recipe"], "the first rank's recipe", ".", {});
  load_plugins(recipe_plugins(tree), plugins);
  RunPlan plan{.folder = RunFolder(content["folder"].get<std::string>()),
               .recipe = read_recipe(tree, plugins.registry())};
  if (!content["checkpoint"].is_null()) plan.checkpoint = content["checkpoint"].get<int64_t>();
  // Each rank has a GPU of its own.
  plan.device = request.device.empty() ? content["device"].get<std::string>() : request.device;
  plan.threads = content["threads"];
  plan.resumes = content["resumes"];
  return plan;
}

}  // namespace

RunPlan plan_run(const TrainRequest& request, Plugins& plugins, Ranks& ranks) {
  if (ranks.size() == 1) return plan_alone(request, plugins);
  if (ranks.leads()) {
    RunPlan plan = plan_alone(request, plugins);
    ranks.from_first(to_json(plan).dump(), "what to train");
    return plan;
  }
  return from_json(Json::parse(ranks.from_first("", "what to train")), request, plugins);
}

}  // namespace echo
