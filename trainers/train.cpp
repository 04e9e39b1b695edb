#include "trainers/train.h"

#include "framework/src/files/file.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/environment.h"
#include "trainers/provenance.h"
#include "trainers/report/report.h"
#include "trainers/run.h"
#include "trainers/run_plan.h"
#include "trainers/sample.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <ATen/Parallel.h>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

Json read_summary(const RunFolder& folder) {
  const Json summary = read_json_file(folder.summary());
  if (summary.is_object() && summary.contains("final") && summary["final"].is_object() &&
      summary["final"].contains("task"))
    return summary;
  throw Error(folder.summary().string() + " is damaged; remove it, and `" + how_to_resume(folder) +
              "` scores the run again");
}

// The folder's first files. recipe.yaml comes last: a folder without it was never a run.
void begin_folder(const RunPlan& plan, const Plugins& plugins, const Session& session) {
  const Json environment = environment_json(plan.recipe, plugins.loaded(), session);
  replace_file(plan.folder.environment(), environment.dump(2) + "\n");
  replace_file(plan.folder.recipe(), resolved_yaml(plan.recipe));
  sync_folder(fs::absolute(plan.folder.path()).parent_path());
}

// Every resumption is added to environment.json, so that results can be traced.
void note_resumption(const RunPlan& plan, const Plugins& plugins, const Session& session) {
  Json environment = read_environment(plan.folder);
  Json entry = environment_json(plan.recipe, plugins.loaded(), session);
  entry["from_step"] = plan.checkpoint.value_or(0);
  environment["resumed"].push_back(std::move(entry));
  replace_file(plan.folder.environment(), environment.dump(2) + "\n");
  replace_file(plan.folder.recipe(), resolved_yaml(plan.recipe));
}

std::string threads_text(int64_t threads) {
  return std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

// "4 ranks (2 x 2) of "
std::string ranks_text(const Session& session) {
  if (session.ranks.is_null()) return "";
  const auto text = [&](const char* name) {
    return std::to_string(session.ranks[name].get<int64_t>());
  };
  return text("size") + " ranks (" + text("data") + " x " + text("sequence") + ") of ";
}

std::string first_line(const RunPlan& plan, const Session& session, const Model& model) {
  return plan.folder.path().string() + ": " + std::to_string(plan.recipe.train.steps.value()) +
         " steps of " + std::to_string(plan.recipe.train.batch) + " samples, task " +
         plan.recipe.task.kind + ", " + count_text(static_cast<double>(model.parameter_count())) +
         " parameters, " + session.device + ", " + ranks_text(session) +
         threads_text(session.threads);
}

void announce(const RunPlan& plan, const Session& session, const Model& model, Console& console) {
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
void lock_new_folder(RunPlan& plan) {
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
void refuse_other_data(const RunPlan& plan, const Session& session) {
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
void complete_reports(const RunPlan& plan, Plugins& plugins, Console& console) {
  const RunFolder& folder = plan.folder;
  if (fs::exists(folder.report())) return;
  attempt("sample", console, [&] {
    const LoadedRun run = load_run(folder.path(), plugins, {});
    run.task->prepare();
    write_sample(folder, *run.model, *run.task);
  });
  attempt("report", console, [&] { write_report(folder.path()); });
}

void prepare_folder(RunPlan& plan, const Plugins& plugins, const Session& session) {
  if (!plan.lock) lock_new_folder(plan);
  plan.folder.checkpoints().clean();
  fs::remove(plan.folder.summary());
  fs::remove(plan.folder.sample());
  if (plan.resumes) {
    note_resumption(plan, plugins, session);
  } else {
    begin_folder(plan, plugins, session);
  }
}

// For environment.json; null of one process alone.
Json ranks_json(const Recipe& recipe, Ranks& ranks) {
  if (ranks.size() == 1) return nullptr;
  return {{"size", ranks.size()},
          {"data", ranks.mesh().data},
          {"sequence", ranks.mesh().sequence},
          {"zero", recipe.parallel.zero},
          {"hosts", ranks.gather(host_name(), "names of hosts")}};
}

// The first rank writes all ranks' events into one picture.
void keep_trace(const EventTrace& trace, const std::string& file, Ranks& ranks, Console& console) {
  ranks.world().record(nullptr);
  const std::vector<std::string> events = ranks.gather(trace.events(), "the trace");
  if (ranks.leads()) attempt("trace", console, [&] { write_trace(file, events); });
}

bool nothing_left(const RunPlan& plan) {
  return plan.folder.stage() == RunStage::finished && plan.checkpoint &&
         *plan.checkpoint == plan.recipe.train.steps.value();
}

}  // namespace

TrainResult train(const TrainRequest& request, Plugins& plugins, Console& console, Ranks& ranks) {
  RunPlan plan = plan_run(request, plugins, ranks);
  TrainResult result{.folder = plan.folder};
  if (ranks.any(ranks.leads() && nothing_left(plan), "is anything left to do?")) {
    result.step = *plan.checkpoint;
    if (!ranks.leads()) return result;
    result.summary = read_summary(plan.folder);
    console.line(plan.folder.path().string() + " is finished; nothing is left to do");
    complete_reports(plan, plugins, console);
    return result;
  }
  ranks.world().limit(plan.recipe.parallel.time_limit);
  ranks.arrange(mesh_of(plan.recipe, ranks.size()));
  if (ranks.size() > 1 && request.device.empty() && plan.device != "cpu") {
    throw ConfigError("the run " + plan.folder.path().string() + " is trained on " + plan.device +
                      "; give --device cuda, so that each rank takes a GPU, or --device cpu");
  }
  const at::Device device = parse_device(plan.device);
  Session session{.device = plan.device,
                  .threads = use_deterministic_threads(plan.threads),
                  .command = request.command,
                  .ranks = ranks_json(plan.recipe, ranks)};
  const std::unique_ptr<EventTrace> trace =
      request.trace.empty() ? nullptr : std::make_unique<EventTrace>(ranks.rank());
  if (trace) ranks.world().record(trace.get());
  Trainer trainer(plan.recipe, plugins,
                  {.folder = plan.folder,
                   .device = device,
                   .console = console,
                   .ranks = ranks,
                   .trace = trace.get()});
  if (ranks.leads()) {
    session.data = trainer.fingerprints();
    if (plan.resumes) refuse_other_data(plan, session);
    prepare_folder(plan, plugins, session);
  }
  ranks.any(false, "the run folder is ready");
  console.open_log(ranks.leads() ? plan.folder.log() : plan.folder.log(ranks.rank()));
  announce(plan, session, trainer.model(), console);
  try {
    if (plan.checkpoint) trainer.resume(*plan.checkpoint);
    result.outcome = trainer.run();
  } catch (const std::exception& failure) {
    console.log_only(failure.what());
    throw;
  }
  result.step = trainer.state().step;
  if (trace) keep_trace(*trace, request.trace, ranks, console);
  if (!ranks.leads()) return result;
  if (result.outcome == Outcome::finished) {
    attempt("sample", console, [&] { write_sample(plan.folder, trainer.model(), trainer.task()); });
  }
  attempt("report", console, [&] { write_report(plan.folder.path()); });
  if (result.outcome == Outcome::finished) result.summary = read_summary(plan.folder);
  return result;
}

TrainResult train(const TrainRequest& request, Plugins& plugins, Console& console) {
  Ranks alone;
  return train(request, plugins, console, alone);
}

}  // namespace echo
