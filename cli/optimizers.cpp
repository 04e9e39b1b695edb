#include "cli/kind_list.h"

namespace echo::cli {

void add_optimizers(Program& program) {
  add_kind_command(program, "optimizer", "what changes parameters, and its fields",
                   &Registry::optimizers, "adamw");
}

}  // namespace echo::cli
