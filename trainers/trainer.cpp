#include "trainers/trainer.h"

#include "framework/src/files/file.h"
#include "trainers/distributed/ranked_evaluator.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

// Thrown out of an evaluation when a signal came.
struct Stopped {};

double seconds_between(std::chrono::steady_clock::time_point begin,
                       std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// "accuracy 0.9912, loss 0.0312"
std::string scores_text(const Json& scores) {
  std::string text;
  for (const auto& [name, value] : scores.items()) {
    if (name.find('/') != std::string::npos) continue;  // by slice: in the files
    text += (text.empty() ? "" : ", ") + name + " " + number_text(value.get<double>());
  }
  return text.empty() ? "nothing was scored" : text;
}

}  // namespace

Trainer::Trainer(const Recipe& recipe, const Plugins& plugins, const TrainerPlace& place)
    : recipe_(recipe),
      folder_(place.folder),
      console_(place.console),
      ranks_(place.ranks),
      trace_(place.trace),
      tasks_(evaluation_tasks(recipe, plugins.registry())),
      learner_(recipe, plugins.registry(), place.device,
               {.ranks = &place.ranks, .trace = place.trace}),
      metadata_(model_metadata(recipe, plugins.loaded(), plugins.registry())),
      plan_{.task = tasks_.front().second.get(),
            .batch = recipe.train.batch,
            .accumulation = recipe.train.accumulation,
            .device = place.device,
            .rank = place.ranks.data_rank(),
            .ranks = place.ranks.mesh().data,
            .sequence_rank = place.ranks.sequence_rank(),
            .sequence_ranks = place.ranks.mesh().sequence},
      steps_(recipe.train.steps.value()) {}

void Trainer::resume(int64_t step) {
  const Checkpoints checkpoints = folder_.checkpoints();
  const std::filesystem::path path = checkpoints.path(step);
  state_ = verify_checkpoint(path);
  load_parameters(path, learner_.model());
  load_optimizer(path, learner_.slots(), learner_.optimizer(), learner_.model());
  if (ranks_.leads()) checkpoints.rewind(step);
  seconds_before_ = state_.seconds;
  saved_step_ = step;
}

std::map<std::string, std::string> Trainer::fingerprints() const {
  std::map<std::string, std::string> found;
  for (const auto& [name, task] : tasks_) {
    if (const std::string print = task->fingerprint(); !print.empty()) found[name] = print;
  }
  return found;
}

Outcome Trainer::run() {
  stop_.emplace();
  std::optional<GraceLimit> grace;
  if (ranks_.size() > 1)
    grace.emplace(*stop_, recipe_.parallel.grace, [this] { end_without_saving(); });
  const Outcome outcome = run_to_the_end();
  grace.reset();
  stop_.reset();
  return outcome;
}

// On another thread than the trainer's, which hangs.
void Trainer::end_without_saving() {
  if (ranks_.leads()) {
    std::fprintf(stderr,
                 "echo: error: the ranks did not save within %g s of the signal (parallel.grace); "
                 "the last checkpoint in %s stands\n",
                 recipe_.parallel.grace, folder_.path().c_str());
  }
  std::_Exit(1);
}

Outcome Trainer::run_to_the_end() {
  began_ = Clock::now();
  first_step_ = state_.step;
  if (ranks_.leads()) {
    truncate_metrics(folder_.metrics(), state_);
    metrics_.emplace(folder_.metrics());
  }
  try {
    return run_steps();
  } catch (const MixerFailed& failure) {
    give_up(failure);
  }
}

Outcome Trainer::run_steps() {
  try {
    if (!state_.evaluated) evaluate_all();
    Prefetch data(plan_, state_.step + 1, steps_);
    bool stopped = false;
    while (state_.step < steps_ && !stopped) {
      stopped = advance(data.next()) == Advance::stopped;
      if (stopped) break;
      if (evaluation_due()) evaluate_all();
      if (checkpoint_due()) save();
    }
    if (!stopped && !any_stop()) {
      finish();
      return Outcome::finished;
    }
  } catch (const Stopped&) {
  }
  const std::string signal = stop_->requested() ? stop_->name() : "a signal to another rank";
  console_.log_only(signal + " came: stopped after step " + std::to_string(state_.step));
  if (saved_step_ != state_.step && state_.step > 0) save();
  return Outcome::stopped;
}

// By all ranks alike.
bool Trainer::any_stop() { return ranks_.any(stop_->requested(), "is a rank to stop?"); }

Trainer::Advance Trainer::advance(const StepData& data) {
  const auto begin = Clock::now();
  const int64_t bytes_before = ranks_.bytes_sent();
  const StepResult result = learn(data);
  if (result.stopped) return Advance::stopped;
  step_bytes_ = ranks_.bytes_sent() - bytes_before;
  validation_.clear();
  state_.step = data.step;
  state_.tokens += result.tokens;
  state_.evaluated = !evaluation_due();
  const double seconds = seconds_between(begin, Clock::now());
  state_.training_seconds += seconds;
  line_seconds_ += seconds;
  line_tokens_ += result.tokens;
  if (!result.loss) {
    console_.line("step " + std::to_string(data.step) +
                  ": the batch has no scored token; the model stays as it is");
  }
  if (data.step % recipe_.train.log_every == 0 || data.step == steps_) write_step(result);
  show_progress(result);
  return Advance::done;
}

StepResult Trainer::learn(const StepData& data) {
  try {
    return learner_.step(data, stop_->requested());
  } catch (const NotFinite& failure) {
    give_up(failure);
  }
}

void Trainer::give_up(const NotFinite& failure) const {
  throw Error(std::string(failure.what()) + ". " + what_is_saved() +
              ". Lower train.optimizer.peak_rate, lengthen the schedule's warm-up or set " +
              "train.clip, and start again with another --run");
}

void Trainer::give_up(const MixerFailed& failure) const {
  throw Error("after step " + std::to_string(state_.step) + ": " + failure.what() + ". " +
              what_is_saved() + ". Correct the plugin (`" + program_name() +
              " plugin check FILE` runs the conformance kit over it) and go on with `" +
              how_to_resume(folder_) + "`, or take another mixer");
}

std::string Trainer::what_is_saved() const {
  if (!saved_step_) return "Nothing was saved before";
  return "The checkpoint of step " + std::to_string(*saved_step_) + " is whole";
}

void Trainer::write_step(const StepResult& result) {
  tokens_per_second_ = static_cast<double>(line_tokens_) / std::max(line_seconds_, 1e-9);
  line_seconds_ = 0;
  line_tokens_ = 0;
  Json line = {{"step", state_.step}};
  if (result.loss) line["loss"] = *result.loss;
  line["learning_rate"] = result.learning_rate;
  if (result.gradient_norm) line["gradient_norm"] = *result.gradient_norm;
  line["tokens"] = state_.tokens;
  line["tokens_per_second"] = tokens_per_second_;
  line["seconds"] = seconds();
  if (!result.auxiliary.empty()) line["auxiliary"] = result.auxiliary;
  write_metrics(line);
}

void Trainer::show_progress(const StepResult& result) {
  console_.progress([&](int64_t columns) {
    const double done = static_cast<double>(state_.step - first_step_);
    const double left = static_cast<double>(steps_ - state_.step);
    const double speed =
        line_seconds_ > 0 ? static_cast<double>(line_tokens_) / line_seconds_ : tokens_per_second_;
    return progress_text({.step = state_.step,
                          .steps = steps_,
                          .loss = result.loss,
                          .learning_rate = result.learning_rate,
                          .tokens_per_second = speed,
                          .seconds_left = (seconds() - seconds_before_) / done * left},
                         columns);
  });
}

bool Trainer::evaluation_due() const {
  if (state_.step == steps_) return true;
  return recipe_.evaluate.every && state_.step % *recipe_.evaluate.every == 0;
}

bool Trainer::checkpoint_due() const {
  if (state_.step == steps_) return true;
  return recipe_.train.checkpoint.every && state_.step % *recipe_.train.checkpoint.every == 0;
}

void Trainer::evaluate_all() {
  Json scores = Json::object();
  for (const auto& [name, task] : tasks_) {
    if (task->info().validation_samples == 0) continue;
    const Scores sums = evaluate_one(name, *task, Split::validation);
    scores[name] = scores_json(sums);
    if (name == "task") judge(sums);
    validation_[name] = sums;
    console_.line("step " + std::to_string(state_.step) + ": " + name + " " +
                  scores_text(scores[name]));
  }
  if (!scores.empty()) write_metrics({{"step", state_.step}, {"eval", scores}});
  state_.evaluated = true;
}

Scores Trainer::evaluate_one(const std::string& name, const Task& task, Split split) {
  const TraceSpan span(trace_, "score " + name);
  const auto progress = [&](int64_t done, int64_t total) {
    if (any_stop()) throw Stopped();
    console_.progress([&](int64_t) {
      return "step " + std::to_string(state_.step) + ": scoring " + name + ", " +
             std::to_string(done) + " of " + std::to_string(total) + " samples";
    });
  };
  RankedEvaluator evaluator(learner_.model(), recipe_.evaluate.batch.value(), ranks_, progress);
  return task.evaluate(evaluator, split);
}

void Trainer::judge(const Scores& scores) {
  const TaskInfo info = tasks_.front().second->info();
  const std::optional<double> value = metric_of(info, scores);
  if (!value) return;
  if (!state_.best || better(info, *value, *state_.best)) state_.best = value;
  if (!state_.steps_to_solve && solved(info, *value)) state_.steps_to_solve = state_.step;
}

void Trainer::save() {
  try {
    learner_.check_finite(state_.step);
  } catch (const NotFinite& failure) {
    give_up(failure);
  }
  const TraceSpan span(trace_, "save");
  state_.seconds = seconds();
  if (metrics_) metrics_->sync();  // what a checkpoint stands on must not be younger on the disk
  folder_.checkpoints().save({.model = learner_.model(),
                              .slots = learner_.slots(),
                              .state = state_,
                              .metadata = metadata_},
                             recipe_.train.checkpoint.keep, ranks_);
  saved_step_ = state_.step;
  console_.log_only("step " + std::to_string(state_.step) + ": saved");
}

void Trainer::finish() {
  const Json content = summary();
  if (metrics_) {
    metrics_->sync();
    replace_file(folder_.summary(), content.dump(2) + "\n");
  }
  console_.log_only("finished");
}

void Trainer::write_metrics(const Json& line) {
  if (metrics_) metrics_->write(line);
}

Json Trainer::ranks_summary() const {
  return {{"size", ranks_.size()},
          {"data", ranks_.mesh().data},
          {"sequence", ranks_.mesh().sequence},
          {"zero", recipe_.parallel.zero},
          {"bytes_sent_per_step", step_bytes_}};
}

Json Trainer::summary() {
  const TaskInfo info = tasks_.front().second->info();
  Json content = {{"step", state_.step},
                  {"metric", info.metric},
                  {"best", or_null(state_.best)},
                  {"steps_to_solve", or_null(state_.steps_to_solve)},
                  {"parameters", learner_.model().parameter_count()},
                  {"tokens", state_.tokens},
                  {"tokens_per_second",
                   static_cast<double>(state_.tokens) / std::max(state_.training_seconds, 1e-9)}};
  if (ranks_.size() > 1) content["ranks"] = ranks_summary();
  for (const auto& [name, task] : tasks_) content["final"][name] = final_scores(name, *task);
  content["seconds"] = seconds();
  return content;
}

Json Trainer::final_scores(const std::string& name, const Task& task) {
  const TaskInfo info = task.info();
  Json content = {{"length", info.length},
                  {"state_bytes", learner_.model().initial_state(1, info.length).bytes()}};
  const std::optional<Split> split = final_split(info);
  if (!split) return content;
  content["split"] = split_name(*split);
  content["samples"] = samples_of(info, *split);
  const bool known = *split == Split::validation && validation_.count(name);
  content["scores"] = scores_json(known ? validation_.at(name) : evaluate_one(name, task, *split));
  if (!info.levels.empty()) content["levels"] = info.levels;
  if (!info.slice_by.empty()) content["slice_by"] = info.slice_by;
  console_.line(std::string("final ") + split_name(*split) + ": " + name + " " +
                scores_text(content["scores"]));
  return content;
}

double Trainer::seconds() const { return seconds_before_ + seconds_between(began_, Clock::now()); }

}  // namespace echo
