#include "framework/src/files/program_prefix.h"

namespace echo {

std::filesystem::path program_prefix() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

}  // namespace echo
