#pragma once

#include "cli/command.h"

#include <string>
#include <vector>

namespace echo::cli {

struct VerifyArguments {
  std::vector<std::string> files;
  std::string mixer;  // another kind than the files name; empty: theirs
  bool as_json = false;
};

// `mixers --verify`: golden files through their mixers, a table each. 0: all pass, 1: one fails, 2:
// a file could not be read (the others are verified all the same).
int verify_files(Program& program, const VerifyArguments& arguments);

}  // namespace echo::cli
