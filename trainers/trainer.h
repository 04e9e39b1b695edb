#pragma once

#include "trainers/console.h"
#include "trainers/distributed/ranks.h"
#include "trainers/distributed/trace.h"
#include "trainers/environment.h"
#include "trainers/evaluation.h"
#include "trainers/learner.h"
#include "trainers/metrics.h"
#include "trainers/progress.h"
#include "trainers/run_folder.h"
#include "trainers/stop_signal.h"

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace echo {

enum class Outcome { finished, stopped };

// What a trainer works with; all outlives it.
struct TrainerPlace {
  const RunFolder& folder;
  at::Device device;
  Console& console;
  Ranks& ranks;
  Trace* trace = nullptr;  // null: none
};

// Takes one run from where it stands to its end, or to a signal: steps, metrics, evaluations,
// checkpoints, summary. Whoever makes it holds the folder's lock. Everything that is written
// depends on the recipe and the step only (but for timings), never on where the run was
// interrupted. Every rank has one; the first one writes.
class Trainer {
 public:
  Trainer(const Recipe& recipe, const Plugins& plugins, const TrainerPlace& place);

  // Continues from a checkpoint of this recipe.
  void resume(int64_t step);

  Outcome run();

  const TrainerState& state() const { return state_; }
  const Model& model() const { return learner_.model(); }
  Model& model() { return learner_.model(); }
  const Task& task() const { return *tasks_.front().second; }
  // Of the tasks that have one, by name; the recipe's own is "task".
  std::map<std::string, std::string> fingerprints() const;

 private:
  using Clock = std::chrono::steady_clock;

  [[noreturn]] void end_without_saving();
  Outcome run_to_the_end();
  Outcome run_steps();
  enum class Advance { done, stopped };
  Advance advance(const StepData& data);
  StepResult learn(const StepData& data);
  bool any_stop();
  [[noreturn]] void give_up(const NotFinite& failure) const;
  [[noreturn]] void give_up(const MixerFailed& failure) const;
  std::string what_is_saved() const;
  void write_step(const StepResult& result);
  void show_progress(const StepResult& result);
  bool evaluation_due() const;
  bool checkpoint_due() const;
  void evaluate_all();
  Scores evaluate_one(const std::string& name, const Task& task, Split split);
  void judge(const Scores& scores);
  void save();
  void finish();
  void write_metrics(const nlohmann::ordered_json& line);
  nlohmann::ordered_json summary();
  nlohmann::ordered_json ranks_summary() const;
  nlohmann::ordered_json final_scores(const std::string& name, const Task& task);
  double seconds() const;

  Recipe recipe_;
  RunFolder folder_;
  Console& console_;
  Ranks& ranks_;
  Trace* trace_;
  NamedTasks tasks_;  // the recipe's own first
  Learner learner_;
  std::map<std::string, std::string> metadata_;
  DataPlan plan_;
  int64_t steps_;
  TrainerState state_;
  std::optional<MetricsWriter> metrics_;  // the first rank's
  std::optional<StopSignal> stop_;
  std::optional<int64_t> saved_step_;
  std::map<std::string, Scores> validation_;  // of the model as it is now
  Clock::time_point began_;                   // this process
  double seconds_before_ = 0;                 // earlier processes
  int64_t first_step_ = 0;                    // of this process
  double line_seconds_ = 0;                   // of the steps since the last line of metrics
  int64_t line_tokens_ = 0;
  double tokens_per_second_ = 0;  // of the last line of metrics
  int64_t step_bytes_ = 0;        // that this rank sent in its last step
};

}  // namespace echo
