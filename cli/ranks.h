#pragma once

#include "framework/src/text/terminal.h"
#include "trainers/distributed/launch.h"
#include "trainers/distributed/ranks.h"

#include <memory>
#include <optional>
#include <ostream>
#include <string>

namespace echo::cli {

// This process as one of the ranks that a launcher started, or alone. One at a time; made before
// anything else that a command does.
class RankedProcess {
 public:
  explicit RankedProcess(const std::string& device);  // as --device says; empty: not said
  ~RankedProcess();
  RankedProcess(const RankedProcess&) = delete;
  RankedProcess& operator=(const RankedProcess&) = delete;

  const Launch& launch() const { return launch_; }
  Ranks& ranks() { return *ranks_; }
  // The device of this rank: of "cuda" the GPU with its number on this machine.
  std::string device(const std::string& asked) const;

  // stderr of the first rank; nothing of the others.
  std::ostream& out();
  Terminal terminal(int stream);

 private:
  Launch launch_;
  std::unique_ptr<Communicator> on_cpu_;  // beside ranks with a GPU each
  std::unique_ptr<Ranks> ranks_;
  std::ostream nowhere_{nullptr};
};

// Runs this very command on so many ranks of other processes where it has to be, and returns their
// exit code; none: it is to run here. `ranks` is what --ranks said, 0 without it; `device` what
// --device said.
std::optional<int> run_elsewhere(int64_t ranks, const std::string& device);

// This process's rank where a launcher has started several; 0 alone.
int64_t rank_of_process();

// Called with the exit code when a command has failed: takes the other ranks along.
void leave_ranks(int code);

}  // namespace echo::cli
