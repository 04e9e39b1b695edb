#include "trainers/train.h"

#include "framework/src/files/file.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/recipe_changes.h"
#include "trainers/report/report.h"
#include "trainers/run.h"
#include "trainers/sample.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <unistd.h>

#include <ATen/Parallel.h>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

// A run that is about to go on, or to begin: all that has been decided.
struct Plan {
  RunFolder folder;
  Recipe recipe;
  std::optional<int64_t> checkpoint;  // none: from the beginning
  std::vector<RecipeChange> changes;  // of the folder's recipe
  std::string device;
  int64_t threads = 0;
  std::unique_ptr<RunLock> lock;  // taken before a folder is looked into, after one is chosen
};

std::string how_to_resume(const RunFolder& folder) {
  return "train --resume --run " + shell_word(folder.path().string());
}

fs::path default_folder(const Recipe& recipe) { return fs::path("runs") / recipe.name; }

Json read_json_file(const fs::path& file) {
  std::ifstream stream(file);
  return Json::parse(stream, nullptr, false);
}

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

Plan plan_start(const TrainRequest& request, Plugins& plugins) {
  if (request.recipe.empty()) {
    throw ConfigError(
        "train needs a RECIPE, as in `train recipes/quickstart.yaml`, or --resume with --run DIR");
  }
  if (request.from) throw ConfigError("--from needs --resume");
  Plan plan{.folder = RunFolder(""),
            .recipe = read_recipe_with_plugins(request.recipe, request.overrides, plugins)};
  plan.folder = RunFolder(request.run.empty() ? default_folder(plan.recipe) : fs::path(request.run))
                    .first_unfinished();
  const std::string path = plan.folder.path().string();
  switch (plan.folder.stage()) {
    case RunStage::foreign:
      throw ConfigError(path + " exists and is no run folder; choose another one with --run");
    case RunStage::unfinished:
      throw ConfigError("the run " + path + " is not finished; go on with it by `" +
                        how_to_resume(plan.folder) +
                        "`, begin another with --run DIR, or remove the folder");
    case RunStage::begun: {
      const Recipe stored = read_recipe_with_plugins(plan.folder.recipe(), {}, plugins);
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
    throw ConfigError("there is no run to resume in " + folder.path().string() +
                      "; start it without --resume, or name its folder with --run");
  }
  return stage == RunStage::finished ? folder.last_existing() : folder;
}

void refuse_changes(const Plan& plan, const TrainRequest& request) {
  std::vector<RecipeChange> refused;
  for (const RecipeChange& change : plan.changes) {
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

Plan plan_resume(const TrainRequest& request, Plugins& plugins) {
  Plan plan{.folder = folder_to_resume(request, plugins), .recipe = {}};
  plan.lock = std::make_unique<RunLock>(plan.folder);
  const Recipe stored = read_recipe_with_plugins(plan.folder.recipe(), {}, plugins);
  plan.recipe = read_recipe_with_plugins(
      request.recipe.empty() ? plan.folder.recipe() : fs::path(request.recipe), request.overrides,
      plugins);
  plan.changes = recipe_changes(stored, plan.recipe);
  refuse_changes(plan, request);
  plan.checkpoint = checkpoint_to_resume(plan.folder, request);
  const int64_t steps = plan.recipe.train.steps.value();
  if (plan.checkpoint && *plan.checkpoint > steps) {
    throw ConfigError("the run " + plan.folder.path().string() + " is at step " +
                      std::to_string(*plan.checkpoint) + ", beyond train.steps " +
                      std::to_string(steps) + "; ask for more steps, or for an earlier --from");
  }
  // The same bits need the same device and number of threads.
  const Json environment = read_json_file(plan.folder.environment());
  const bool known = environment.is_object();
  plan.device = !request.device.empty() ? request.device
                : known                 ? environment.value("device", "cpu")
                                        : "cpu";
  plan.threads = request.threads > 0 ? request.threads
                 : known             ? environment.value("threads", int64_t{0})
                                     : 0;
  return plan;
}

// The folder's first files. recipe.yaml comes last: a folder without it was never a run.
void begin_folder(const Plan& plan, const Plugins& plugins, const Session& session) {
  const Json environment = environment_json(plan.recipe, plugins.loaded(), session);
  replace_file(plan.folder.environment(), environment.dump(2) + "\n");
  replace_file(plan.folder.recipe(), resolved_yaml(plan.recipe));
  sync_folder(fs::absolute(plan.folder.path()).parent_path());
}

// Every resumption is added to environment.json, so that results can be traced.
void note_resumption(const Plan& plan, const Plugins& plugins, const Session& session) {
  Json environment = read_json_file(plan.folder.environment());
  if (!environment.is_object()) environment = Json::object();
  Json entry = environment_json(plan.recipe, plugins.loaded(), session);
  entry["from_step"] = plan.checkpoint.value_or(0);
  environment["resumed"].push_back(std::move(entry));
  replace_file(plan.folder.environment(), environment.dump(2) + "\n");
  if (!plan.changes.empty()) replace_file(plan.folder.recipe(), resolved_yaml(plan.recipe));
}

std::string first_line(const Plan& plan, const Session& session, const Model& model) {
  return plan.folder.path().string() + ": " + std::to_string(plan.recipe.train.steps.value()) +
         " steps of " + std::to_string(plan.recipe.train.batch) + " samples, task " +
         plan.recipe.task.kind + ", " + count_text(static_cast<double>(model.parameter_count())) +
         " parameters, " + session.device + ", " + std::to_string(session.threads) +
         (session.threads == 1 ? " thread" : " threads");
}

void announce(const Plan& plan, const Session& session, const Model& model, Console& console) {
  console.line(first_line(plan, session, model));
  if (plan.checkpoint) console.line("going on from step " + std::to_string(*plan.checkpoint));
  for (const RecipeChange& change : plan.changes) console.line(change_text(change));
  const Json environment = read_json_file(plan.folder.environment());
  const int64_t before = environment.is_object() ? environment.value("threads", int64_t{0}) : 0;
  if (plan.checkpoint && before > 0 && before != session.threads) {
    console.line("the run began with " + std::to_string(before) + " threads: the last bits will " +
                 "differ from an uninterrupted run");
  }
}

// The folder may have become somebody's while the task was read and the model was made.
void lock_new_folder(Plan& plan) {
  const RunStage before = plan.folder.stage();
  plan.lock = std::make_unique<RunLock>(plan.folder);
  if (plan.folder.stage() == before) return;
  throw Error("another process has begun a run in " + plan.folder.path().string() +
              "; choose another folder with --run");
}

// A sample or a report that cannot be written does not undo a run.
void attempt(const char* what, Console& console, const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& failure) {
    console.line(std::string("no ") + what + " was written: " + failure.what());
  }
}

bool nothing_left(const Plan& plan) {
  return plan.folder.stage() == RunStage::finished && plan.checkpoint &&
         *plan.checkpoint == plan.recipe.train.steps.value();
}

}  // namespace

TrainResult train(const TrainRequest& request, Plugins& plugins, Console& console) {
  Plan plan = request.resume ? plan_resume(request, plugins) : plan_start(request, plugins);
  TrainResult result{.folder = plan.folder};
  if (nothing_left(plan)) {
    result.step = *plan.checkpoint;
    result.summary = read_json_file(plan.folder.summary());
    console.line(plan.folder.path().string() + " is finished; nothing is left to do");
    return result;
  }
  const at::Device device = parse_device(plan.device);
  const Session session{.device = plan.device,
                        .threads = use_deterministic_threads(plan.threads),
                        .command = request.command};
  Trainer trainer(plan.recipe, plugins, plan.folder, device, console);

  if (!plan.lock) lock_new_folder(plan);
  plan.folder.checkpoints().clean();
  fs::remove(plan.folder.summary());
  fs::remove(plan.folder.sample());
  if (request.resume) {
    note_resumption(plan, plugins, session);
  } else {
    begin_folder(plan, plugins, session);
  }
  console.open_log(plan.folder.log());
  announce(plan, session, trainer.model(), console);
  try {
    if (plan.checkpoint) trainer.resume(*plan.checkpoint);
    result.outcome = trainer.run();
  } catch (const std::exception& failure) {
    console.log_only(failure.what());
    throw;
  }
  result.step = trainer.state().step;
  if (result.outcome == Outcome::finished) {
    attempt("sample", console, [&] { write_sample(plan.folder, trainer.model(), trainer.task()); });
  }
  attempt("report", console, [&] { write_report(plan.folder.path()); });
  if (result.outcome == Outcome::finished) result.summary = read_json_file(plan.folder.summary());
  return result;
}

}  // namespace echo
