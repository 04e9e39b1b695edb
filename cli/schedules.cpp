#include "cli/kind_list.h"

namespace echo::cli {

void add_schedules(Program& program) {
  add_kind_command(program, "schedule", "how the learning rate goes, and its fields",
                   &Registry::schedules, "cosine");
}

}  // namespace echo::cli
