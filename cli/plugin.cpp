#include "cli/plugin.h"

namespace echo::cli {

void add_plugin(Program& program) {
  Command& group = program.command("What there is", "plugin", "mixers and more of other people's");
  add_plugin_new(program, group);
  add_plugin_info(program, group);
  add_plugin_check(program, group);
  group.notes =
      "A plugin is a shared library with a note that says what it was built against. It is trusted "
      "code: whoever loads one runs it. Every command takes --plugin FILE, recipes take plugins: "
      "[FILE], and ECHO_PLUGINS may name files, separated by colons.";
}

}  // namespace echo::cli
