#include "trainers/tasks/shared/splits.h"

#include <echo/random.h>

namespace echo {

uint64_t sample_seed(uint64_t seed, const std::string& kind, Split split, int64_t index) {
  return derive_seed(seed, kind + "/" + split_name(split), static_cast<uint64_t>(index));
}

}  // namespace echo
