#pragma once

#include "framework/src/ranks/communicator.h"

#include <memory>

namespace echo {

// All ranks that mpirun or srun started, for tensors on the CPU. A thread of its own makes every
// call of MPI, so that operations go on while the caller computes, and answers the others' question
// how far this rank is: that is how a rank that is late is told from one that is gone.
//
// MPI is started at the first call and ended when the last communicator goes. A process that fails
// calls abandon_mpi() instead: the others would wait for it. Throws Error where MPI cannot be used
// by several threads.
std::unique_ptr<Communicator> mpi_communicator();

// Ends all ranks, with this exit code, where MPI runs with more than one; else it does nothing.
void abandon_mpi(int code);

// "Open MPI v4.1.4"
std::string mpi_library();

}  // namespace echo
