#pragma once

#include "trainers/distributed/ranks.h"
#include "trainers/recipe_changes.h"
#include "trainers/train.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// A run that is about to go on, or to begin: all that has been decided.
struct RunPlan {
  RunFolder folder;
  Recipe recipe;
  std::optional<int64_t> checkpoint;        // none: from the beginning
  std::vector<RecipeChange> changes;        // of the folder's recipe
  std::vector<std::string> plugin_changes;  // since the checkpoint, as lines
  std::string device;
  int64_t threads = 0;
  bool resumes = false;
  // Of the first rank. Taken before a folder is looked into, after one is chosen.
  std::unique_ptr<RunLock> lock;
};

// Reads what is asked for and what is there. Throws ConfigError and Error; nothing has been written
// then. The first rank looks, and tells the others: they need no folder that all can read yet.
RunPlan plan_run(const TrainRequest& request, Plugins& plugins, Ranks& ranks);

}  // namespace echo
