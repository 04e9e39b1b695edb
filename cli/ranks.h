#pragma once

#include "framework/src/text/terminal.h"
#include "trainers/distributed/launch.h"
#include "trainers/distributed/ranks.h"

#include <memory>
#include <optional>
#include <ostream>

namespace echo::cli {

// This process as one of the ranks that a launcher started, or alone. One at a time; made before
// anything else that a command does.
class RankedProcess {
 public:
  RankedProcess();
  ~RankedProcess();
  RankedProcess(const RankedProcess&) = delete;
  RankedProcess& operator=(const RankedProcess&) = delete;

  const Launch& launch() const { return launch_; }
  Ranks& ranks() { return *ranks_; }

  // stderr of the first rank; nothing of the others.
  std::ostream& out();
  Terminal terminal(int stream);

 private:
  Launch launch_;
  std::unique_ptr<Ranks> ranks_;
  std::ostream nowhere_{nullptr};
};

// Runs this very command on so many ranks of other processes where it has to be, and returns their
// exit code; none: it is to run here. `ranks` is what --ranks said, 0 without it.
std::optional<int> run_elsewhere(int64_t ranks);

// This process's rank where a launcher has started several; 0 alone.
int64_t rank_of_process();

// Called with the exit code when a command has failed: takes the other ranks along.
void leave_ranks(int code);

}  // namespace echo::cli
