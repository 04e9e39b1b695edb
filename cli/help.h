#pragma once

#include "cli/command.h"
#include "framework/src/text/terminal.h"

#include <string>
#include <vector>

namespace echo::cli {

// The group of the options that every command has.
inline const char* const kEveryCommand = "Options of every command";

// The page of --help, of the program or of one command, for a terminal.
std::string program_help(const Program& program, const Terminal& terminal);
std::string command_help(const Command& command, const Terminal& terminal);

// What CLI11 could not use, as one paragraph: the nearest name and all that there is. `app` is the
// program or the command that was asked.
std::string unknown_argument(const Program& program, const CLI::App& app,
                             const std::string& argument);
// `plugin` without what it is to do.
std::string no_subcommand(const Command& command);
// What is wrong with known arguments.
std::string wrong_argument(const CLI::App& app, const CLI::ParseError& mistake);

// The commands of --help, without those below others.
std::vector<const Command*> top_commands(const Program& program);

// The text with a full stop where it does not end in a question.
std::string sentence(const std::string& text);

// "--run", "RECIPE": how messages and help call an option.
std::string option_name(const CLI::Option& option);

// Options and arguments of a command, without the hidden ones.
std::vector<const CLI::Option*> visible_options(const CLI::App& app);

}  // namespace echo::cli
