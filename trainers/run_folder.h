#pragma once

#include "trainers/checkpoint.h"

#include <filesystem>
#include <string>

namespace echo {

enum class RunStage {
  absent,      // nothing there, or what a process left that was killed while it began
  foreign,     // something else: a file, a folder with other things
  begun,       // no checkpoint yet
  unfinished,  // has a checkpoint
  finished,
};

// The folder of one run; see trainers/README.md for its files. This class only knows names.
class RunFolder {
 public:
  explicit RunFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path recipe() const { return path_ / "recipe.yaml"; }
  std::filesystem::path environment() const { return path_ / "environment.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path summary() const { return path_ / "summary.json"; }
  std::filesystem::path sample() const { return path_ / "sample.json"; }
  std::filesystem::path report() const { return path_ / "report.html"; }
  std::filesystem::path log() const { return path_ / "log.txt"; }
  // Of the ranks but the first.
  std::filesystem::path log(int64_t rank) const {
    return path_ / "logs" / ("rank-" + std::to_string(rank) + ".txt");
  }
  std::filesystem::path lock() const { return path_ / ".lock"; }
  Checkpoints checkpoints() const { return Checkpoints(path_ / "checkpoints"); }

  RunStage stage() const;

  // This one, or of <path>-2, <path>-3, ... the first that is not finished.
  RunFolder first_unfinished() const;
  // The last of this one, <path>-2, <path>-3, ... that exists.
  RunFolder last_existing() const;

 private:
  std::filesystem::path path_;
};

// Keeps a second trainer out of a run folder while it lives; the system lets go of it when the
// process dies. Creates the folder.
class RunLock {
 public:
  explicit RunLock(const RunFolder& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace echo
