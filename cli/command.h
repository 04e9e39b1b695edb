#pragma once

#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/text.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace echo::cli {

enum ExitCode : int { kDone = 0, kFailed = 1, kMistake = 2, kStopped = 75 };

// A command of the program: its parser (CLI11), its examples, and what it does once the arguments
// have been read. The placeholder of an option says what it takes, to people and to completion:
// RECIPE (a .yaml file), RUN (a run folder), FILE, DIR, or a sort of kind (MIXER, TASK).
struct Command {
  struct Example {
    std::string arguments;  // after the program's name: "train recipes/quickstart.yaml"
    std::string purpose;
  };

  CLI::App* app = nullptr;
  std::vector<Command*> subcommands;  // `plugin` has `plugin info`: then `run` is not called
  std::vector<Example> examples;
  std::string notes;                                      // paragraphs at the end of --help
  std::map<std::string, std::vector<std::string>> words;  // by placeholder, of choice()
  std::function<int()> run;  // returns an exit code; throws Error for a user's mistake

  // An argument by position, "RECIPE", or an option, "--run", with the placeholder of its value.
  template <class T>
  CLI::Option* argument(const std::string& name, T& value, const std::string& help) {
    return app->add_option(name, value, help);
  }
  template <class T>
  CLI::Option* option(const std::string& name, T& value, const std::string& placeholder,
                      const std::string& help) {
    return app->add_option(name, value, help)->type_name(placeholder);
  }
  // One of a few words; completion knows them.
  CLI::Option* choice(const std::string& name, std::string& value,
                      const std::vector<std::string>& words, const std::string& placeholder,
                      const std::string& help);
  // An option that may be given again: every use takes one value.
  CLI::Option* repeated(const std::string& name, std::vector<std::string>& values,
                        const std::string& placeholder, const std::string& help);
  CLI::Option* flag(const std::string& name, bool& value, const std::string& help);

  // Options that several commands share.
  void add_json(bool& value);                         // --json
  void add_overrides(std::vector<std::string>& set);  // --set KEY=VALUE, for recipes
  void add_device(std::string& device);               // --device DEVICE: cpu, cuda, cuda:1
  void add_threads(int64_t& threads);                 // --threads N
  void example(const std::string& arguments, const std::string& purpose);
};

// The whole command line. Commands add themselves to it; main() hands it the arguments.
class Program {
 public:
  Program();

  // A new command under its group's heading in --help ("" hides it). The reference stays valid.
  Command& command(const std::string& group, const std::string& name, const std::string& summary);
  // A command below another one, as `plugin info`, which then takes nothing else.
  Command& subcommand(Command& parent, const std::string& name, const std::string& summary);

  // Parses, runs the chosen command and returns its exit code. Throws Error.
  int run(std::vector<std::string> arguments);

  // The program's own kinds, those of ECHO_PLUGINS and of --plugin; loaded at the first call.
  Plugins& plugins();
  // The same with the plugins that a recipe names, then that recipe; or a run folder's.
  Recipe recipe(const std::string& file, const std::vector<std::string>& overrides);
  const std::vector<std::string>& plugin_files() const { return plugin_files_; }  // of --plugin

  const CLI::App& app() const { return app_; }
  const std::vector<std::unique_ptr<Command>>& commands() const { return commands_; }

 private:
  void parse(std::vector<std::string> arguments);
  Command& add(CLI::App* app);
  const Command* chosen() const;
  const CLI::App* chosen_app() const;  // of the command, else of the program

  CLI::App app_;
  std::vector<std::unique_ptr<Command>> commands_;
  bool show_version_ = false;
  std::vector<std::string> plugin_files_;
  std::unique_ptr<Plugins> plugins_;
};

// The command line as the system keeps it.
std::vector<std::string> command_line();

// Adds every command of commands.inc.
void add_commands(Program& program);

}  // namespace echo::cli
