#include "trainers/train.h"

#include "framework/src/files/file.h"
#include "framework/src/files/safetensors.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/environment.h"
#include "trainers/provenance.h"
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
  std::optional<int64_t> checkpoint;        // none: from the beginning
  std::vector<RecipeChange> changes;        // of the folder's recipe
  std::vector<std::string> plugin_changes;  // since the checkpoint, as lines
  std::string device;
  int64_t threads = 0;
  std::unique_ptr<RunLock> lock;  // taken before a folder is looked into, after one is chosen
};

std::string how_to_resume(const RunFolder& folder) {
  return program_name() + " train --resume --run " + shell_word(folder.path().string());
}

fs::path default_folder(const Recipe& recipe) { return fs::path("runs") / recipe.name; }

Json read_json_file(const fs::path& file) {
  std::ifstream stream(file);
  return Json::parse(stream, nullptr, false);
}

Json read_summary(const RunFolder& folder) {
  const Json summary = read_json_file(folder.summary());
  if (summary.is_object() && summary.contains("final") && summary["final"].is_object() &&
      summary["final"].contains("task"))
    return summary;
  throw Error(folder.summary().string() + " is damaged; remove it, and `" + how_to_resume(folder) +
              "` scores the run again");
}

// What is missing or damaged there counts as not known.
Json read_environment(const RunFolder& folder) {
  Json environment = read_json_file(folder.environment());
  if (!environment.is_object()) environment = Json::object();
  if (!environment["device"].is_string()) environment["device"] = "cpu";
  if (!environment["threads"].is_number_integer()) environment["threads"] = 0;
  if (!environment["data"].is_object()) environment["data"] = Json::object();
  if (!environment["resumed"].is_array()) environment["resumed"] = Json::array();
  return environment;
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
    throw ConfigError("train needs a RECIPE, as in `" + program_name() +
                      " train recipes/quickstart.yaml`, or --resume with --run DIR");
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

void refuse_changes(const Plan& plan, const TrainRequest& request) {
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

Plan plan_resume(const TrainRequest& request, Plugins& plugins) {
  Plan plan{.folder = folder_to_resume(request, plugins), .recipe = {}};
  plan.lock = std::make_unique<RunLock>(plan.folder);
  const Recipe stored = read_run_recipe(plan.folder, {}, plugins);
  plan.recipe = request.recipe.empty()
                    ? read_run_recipe(plan.folder, request.overrides, plugins)
                    : read_recipe_with_plugins(request.recipe, request.overrides, plugins);
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
    const SafetensorsFile saved(plan.folder.checkpoints().path(*plan.checkpoint) / kModelFile);
    plan.plugin_changes = plugin_changes(
        saved.metadata(), model_metadata(plan.recipe, plugins.loaded(), plugins.registry()));
  }
  // The same bits need the same device and number of threads.
  const Json environment = read_environment(plan.folder);
  plan.device = request.device.empty() ? environment["device"].get<std::string>() : request.device;
  plan.threads = request.threads > 0 ? request.threads : environment["threads"].get<int64_t>();
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
  Json environment = read_environment(plan.folder);
  Json entry = environment_json(plan.recipe, plugins.loaded(), session);
  entry["from_step"] = plan.checkpoint.value_or(0);
  environment["resumed"].push_back(std::move(entry));
  replace_file(plan.folder.environment(), environment.dump(2) + "\n");
  if (!plan.changes.empty()) replace_file(plan.folder.recipe(), resolved_yaml(plan.recipe));
}

std::string threads_text(int64_t threads) {
  return std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

std::string first_line(const Plan& plan, const Session& session, const Model& model) {
  return plan.folder.path().string() + ": " + std::to_string(plan.recipe.train.steps.value()) +
         " steps of " + std::to_string(plan.recipe.train.batch) + " samples, task " +
         plan.recipe.task.kind + ", " + count_text(static_cast<double>(model.parameter_count())) +
         " parameters, " + session.device + ", " + threads_text(session.threads);
}

void announce(const Plan& plan, const Session& session, const Model& model, Console& console) {
  console.line(first_line(plan, session, model));
  if (plan.checkpoint) console.line("going on from step " + std::to_string(*plan.checkpoint));
  for (const RecipeChange& change : plan.changes) console.line(change_text(change));
  for (const std::string& line : plan.plugin_changes) console.line(line);
  const auto before = read_environment(plan.folder)["threads"].get<int64_t>();
  if (plan.checkpoint && before > 0 && before != session.threads) {
    console.line("the run began with " + threads_text(before) + ": the last bits will differ " +
                 "from an uninterrupted run");
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

// One run on two texts would be neither's.
void refuse_other_data(const Plan& plan, const Session& session) {
  const Json before = read_environment(plan.folder)["data"];
  for (const auto& [task, fingerprint] : session.data) {
    if (!before.contains(task) || before[task] == fingerprint) continue;
    const std::string data = task == "task" ? task : "evaluation task " + task;
    throw ConfigError("the data of the run's " + data +
                      " has changed since the run began (its SHA-256 was " + before[task].dump() +
                      ", now it is \"" + fingerprint +
                      "\"); bring the old data back, or train on the new with another --run");
  }
}

// What a process that was killed at the very end did not write any more.
void complete_reports(const Plan& plan, Plugins& plugins, Console& console) {
  const RunFolder& folder = plan.folder;
  if (fs::exists(folder.report())) return;
  attempt("sample", console, [&] {
    const LoadedRun run = load_run(folder.path(), plugins, {});
    run.task->prepare();
    write_sample(folder, *run.model, *run.task);
  });
  attempt("report", console, [&] { write_report(folder.path()); });
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
    result.summary = read_summary(plan.folder);
    console.line(plan.folder.path().string() + " is finished; nothing is left to do");
    complete_reports(plan, plugins, console);
    return result;
  }
  const at::Device device = parse_device(plan.device);
  Session session{.device = plan.device,
                  .threads = use_deterministic_threads(plan.threads),
                  .command = request.command};
  Trainer trainer(plan.recipe, plugins, plan.folder, device, console);
  session.data = trainer.fingerprints();
  if (request.resume) refuse_other_data(plan, session);

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
  if (result.outcome == Outcome::finished) result.summary = read_summary(plan.folder);
  return result;
}

}  // namespace echo
