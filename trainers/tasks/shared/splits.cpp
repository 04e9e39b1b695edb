#include "trainers/tasks/shared/splits.h"

#include <echo/random.h>

namespace echo {

std::string split_name(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  return "";
}

uint64_t sample_seed(uint64_t seed, const std::string& kind, Split split, int64_t index) {
  return derive_seed(seed, kind + "/" + split_name(split), static_cast<uint64_t>(index));
}

}  // namespace echo
