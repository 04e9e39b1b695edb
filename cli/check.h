#pragma once

#include "cli/command.h"

#include <echo/testing.h>

#include <string>
#include <vector>

namespace echo::cli {

// What `mixers KIND --check` was asked for.
struct CheckArguments {
  bool wanted = false;  // --check
  std::string kind;
  std::vector<std::string> set;
  testing::CheckSettings settings;
  int64_t seed = 0;
  bool as_json = false;
};

// The conformance kit over one kind, a line per check, and for a failed one the command that
// repeats it. 0: all pass, 1: one fails.
int check_kind(Program& program, const CheckArguments& arguments);

}  // namespace echo::cli
