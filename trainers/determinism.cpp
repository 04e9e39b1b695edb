#include "trainers/determinism.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

namespace echo {

int64_t use_deterministic_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // The switch above also makes at::empty fill its memory, which costs milliseconds a call.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  return at::get_num_threads();
}

}  // namespace echo
