#pragma once

#include "cli/command.h"

#include <map>
#include <string>
#include <vector>

namespace echo::cli {

// What a shell needs to know of the command line, taken from the definitions of the commands.
struct Vocabulary {
  struct Option {
    std::vector<std::string> names;  // "-h", "--help"
    std::string takes;               // placeholder of its value; empty for a flag
    std::string help;
    bool repeated = false;
  };
  struct Command {
    std::string name;
    std::string summary;
    std::vector<Option> options;
    std::vector<Option> arguments;  // by position; the last may be repeated
    std::vector<Command> commands;  // below it: "info" of `plugin`
  };

  std::string program;                                    // path of the executable
  std::vector<Option> options;                            // before a command
  std::vector<Command> commands;                          // visible ones
  std::map<std::string, std::vector<std::string>> words;  // by placeholder: MIXER, TASK, DEVICE
};

Vocabulary vocabulary(Program& program);

// A script that defines the function `echo` and completes commands, options and values.
std::string bash_script(const Vocabulary& vocabulary);
std::string zsh_script(const Vocabulary& vocabulary);
std::string fish_script(const Vocabulary& vocabulary);

}  // namespace echo::cli
