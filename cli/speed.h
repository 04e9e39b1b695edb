#pragma once

#include "cli/command.h"
#include "framework/src/testing/speed.h"

#include <string>
#include <vector>

namespace echo::cli {

// What `mixers KIND --speed` was asked for.
struct SpeedArguments {
  bool wanted = false;  // --speed
  bool peers = false;
  std::string kind;
  std::vector<std::string> set;
  std::string contexts;  // "1024,16384"; empty: those of the options
  testing::SpeedOptions options;
  bool as_json = false;
};

// Time and memory of the mixer beside its own projections and, if wanted, a peer in Python.
int print_speed(Program& program, const SpeedArguments& arguments);

}  // namespace echo::cli
