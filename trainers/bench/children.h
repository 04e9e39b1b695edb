#pragma once

#include "trainers/bench/cell.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace echo {

// How a cell's process ended.
struct CellEnd {
  size_t cell = 0;
  bool finished = false;
  bool stopped = false;  // it saved and can go on
  std::string reason;    // of a failure
};

// Trains cells in processes of their own: what one does wrong harms no other. They end, saving what
// they have, when this process does, whatever the way.
class Children {
 public:
  // `options` are handed to every `train`: --threads, --device, --plugin.
  Children(const std::filesystem::path& folder, std::vector<std::string> options)
      : folder_(folder), options_(std::move(options)) {}
  ~Children() { stop(); }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  // False: another process trains this cell right now. `index` comes back in CellEnd. Throws Error
  // when no process can be started.
  bool start(size_t index, const Cell& cell);

  std::optional<CellEnd> ended();  // one that has ended since the last call; never waits
  void stop();                     // asks all to save and end, once; they still come out of ended()

  size_t running() const { return running_.size(); }
  std::vector<size_t> cells() const;  // that are running

  std::filesystem::path run(const Cell& cell) const { return folder_ / cell.key; }

 private:
  struct Child {
    size_t cell;
    std::filesystem::path log;
  };
  std::vector<std::string> arguments(const Cell& cell) const;

  std::filesystem::path folder_;
  std::vector<std::string> options_;
  std::map<pid_t, Child> running_;
  bool stopping_ = false;
};

}  // namespace echo
