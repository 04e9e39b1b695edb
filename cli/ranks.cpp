#include "cli/ranks.h"

#include "cli/command.h"

#include <echo/error.h>

#include <cstdlib>
#include <iostream>
#include <unistd.h>

#include <spdlog/spdlog.h>

namespace echo::cli {

namespace {

int64_t rank_here = 0;

bool is_gpu(const std::string& device) { return device.starts_with("cuda"); }

// The command without --ranks, which the new processes must not follow again.
std::vector<std::string> arguments_for_ranks() {
  std::vector<std::string> arguments;
  const std::vector<std::string> words = command_line();
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--ranks") {
      ++i;
    } else if (!words[i].starts_with("--ranks=")) {
      arguments.push_back(words[i]);
    }
  }
  return arguments;
}

}  // namespace

RankedProcess::RankedProcess(const std::string& device) : launch_(find_launch()) {
  rank_here = launch_.rank;
  if (rank_here > 0) spdlog::set_level(spdlog::level::warn);
  if (launch_.ranks == 1) {
    ranks_ = std::make_unique<Ranks>();
    return;
  }
  // mpirun reads what ranks print through a terminal of its own, and hands it on as plain text.
  if (launch_.by == Launch::By::mpirun) ::setenv("TERM", "dumb", 1);
  if (launch_.has_mpi()) on_cpu_ = join_ranks(launch_);
  if (is_gpu(device)) {
    ranks_ = std::make_unique<Ranks>(join_gpu_ranks(launch_, on_cpu_.get()));
  } else {
    ranks_ = std::make_unique<Ranks>(std::move(on_cpu_));
  }
}

std::string RankedProcess::device(const std::string& asked) const {
  if (launch_.ranks == 1 || asked != "cuda") return asked;
  return "cuda:" + std::to_string(launch_.local_rank);
}

RankedProcess::~RankedProcess() = default;

std::ostream& RankedProcess::out() { return ranks_->leads() ? std::cerr : nowhere_; }

Terminal RankedProcess::terminal(int stream) {
  if (!ranks_->leads()) return {};
  Terminal terminal = look_at(stream);
  if (stream == STDERR_FILENO && launch_.columns > 0) {
    terminal.interactive = true;
    terminal.width = launch_.columns;
  }
  return terminal;
}

std::optional<int> run_elsewhere(int64_t ranks, const std::string& device) {
  const Launch launch = find_launch();
  if (ranks > 0 && launch.ranks > 1) {
    throw ConfigError("--ranks starts ranks itself, and a launcher has already started " +
                      std::to_string(launch.ranks) + "; leave one of the two out");
  }
  if (launch.by == Launch::By::torchrun && launch.ranks > 1 && !is_gpu(device))
    return run_ranks_under_torchrun(launch, arguments_for_ranks());
  if (ranks > 1) return run_ranks(ranks, arguments_for_ranks());
  return std::nullopt;
}

int64_t rank_of_process() { return rank_here; }

void leave_ranks(int code) { abandon_ranks(code); }

}  // namespace echo::cli
