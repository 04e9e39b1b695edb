#include "cli/command.h"

namespace echo::cli {

#define ECHO_COMMAND(name) void add_##name(Program& program);
#include "cli/commands.inc"
#undef ECHO_COMMAND

void add_commands(Program& program) {
#define ECHO_COMMAND(name) add_##name(program);
#include "cli/commands.inc"
#undef ECHO_COMMAND
}

}  // namespace echo::cli
