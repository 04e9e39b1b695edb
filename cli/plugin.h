#pragma once

#include "cli/command.h"

namespace echo::cli {

// The commands below `plugin`, a file each: plugin_new.cpp, plugin_info.cpp, plugin_check.cpp.
void add_plugin_new(Program& program, Command& group);
void add_plugin_info(Program& program, Command& group);
void add_plugin_check(Program& program, Command& group);

}  // namespace echo::cli
