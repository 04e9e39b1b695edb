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
  bool as_json = false;
};

// The pieces that `plugin check` uses too. The ids to run: those of settings.only, else all; throws
// ConfigError for an unknown one. `more` are ids besides the kit's.
std::vector<std::string> chosen_checks(const CheckArguments& arguments,
                                       const std::vector<std::string>& more = {});
testing::CheckResult run_check(const Registry& registry, const CheckArguments& arguments,
                               const std::string& id);
// "--only causal --set 'rank=8' --width 32 --seed 0": what repeats one check.
std::string check_options(const CheckArguments& arguments, const std::string& id);
// A line, and below a failed one the command that repeats it.
void print_check(const testing::CheckResult& result, const std::string& repeat);

// The conformance kit over one kind, a line per check, and for a failed one the command that
// repeats it. 0: all pass, 1: one fails.
int check_kind(Program& program, const CheckArguments& arguments);

}  // namespace echo::cli
