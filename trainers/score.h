#pragma once

#include "framework/src/plugin/loader.h"
#include "trainers/console.h"

#include <echo/task.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// What a person asks of `eval` for one trained run.
struct ScoreRequest {
  std::string run;   // folder, or one of its checkpoints
  std::string task;  // "task", a name of evaluate.tasks, or a kind; empty: all of the recipe
  std::optional<Split> split;          // none: test, else validation
  std::vector<std::string> overrides;  // "task.length=256"
  at::Device device = at::kCPU;
};

// The scores of one task.
struct TaskScores {
  std::string task;
  int64_t step = 0;  // of the checkpoint
  Split split = Split::test;
  int64_t samples = 0;
  int64_t length = 0;
  int64_t state_bytes = 0;  // that one sequence of this length keeps between two tokens
  TaskInfo info;
  Scores scores;
};

// Throws ConfigError for an unknown task, a split without samples and an override of anything but
// task and evaluate.
std::vector<TaskScores> score_run(const ScoreRequest& request, Plugins& plugins, Console& console);

}  // namespace echo
