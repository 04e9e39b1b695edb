#pragma once

#include "framework/src/ranks/communicator.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace echo {

// What the environment says of how this process was started.
struct Launch {
  enum class By { person, mpirun, srun, torchrun };
  By by = By::person;
  int64_t rank = 0, ranks = 1;          // of all
  int64_t on_host = 1, local_rank = 0;  // ranks on this machine, and which of them this is
  bool restarted = false;               // by its launcher, after a failure or a requeue
  int64_t columns = 0;                  // of the terminal at which run_ranks() prints; 0: none

  // Is this one of several ranks that MPI connects?
  bool has_mpi() const { return ranks > 1 && (by == By::mpirun || by == By::srun); }
};
Launch find_launch();

// What connects ranks in this build: "Open MPI v4.1.4", "2.28.9"; empty: it is not in this build.
std::string mpi_version();
std::string nccl_version();

// Threads for each of so many ranks on this machine: the cores that this process may use, shared.
int64_t threads_per_rank(int64_t ranks_on_host);

// Joins the ranks that mpirun or srun started, for tensors on the CPU. Throws Error where this
// build has no MPI, or where MPI sees other ranks than the launcher.
std::unique_ptr<Communicator> join_ranks(const Launch& launch);

// Joins ranks with a GPU each, started by mpirun, srun or torchrun. `on_cpu` is join_ranks() of the
// first two, null for torchrun; it outlives the result. Throws Error where this build has no CUDA.
std::unique_ptr<Communicator> join_gpu_ranks(const Launch& launch, Communicator* on_cpu);

// Starts so many ranks of this program with mpirun, waits for them and returns their exit code.
// Signals that ask for the end are handed on to them, as SIGUSR1. Throws Error where there is no
// mpirun.
int run_ranks(int64_t ranks, const std::vector<std::string>& arguments);

// Under torchrun, on CPUs: the first process runs all ranks with mpirun, the others wait for its
// end. Returns the ranks' exit code. Throws ConfigError for ranks on several machines.
int run_ranks_under_torchrun(const Launch& launch, const std::vector<std::string>& arguments);

// Ends the other ranks too when this one leaves with a failure; alone, it does nothing.
void abandon_ranks(int code);

}  // namespace echo
