#include "cli/command.h"
#include "cli/help.h"
#include "cli/numbers.h"
#include "framework/src/text/near.h"
#include "trainers/run.h"

#include <echo/error.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

void add_help(CLI::App& app) {
  app.set_help_flag("-h,--help", "show this page")->group(kEveryCommand);
}

// Every use takes one value, whatever follows it.
CLI::Option* one_value_each(CLI::Option* option, const std::string& placeholder) {
  return option->type_name(placeholder)->allow_extra_args(false);
}

}  // namespace

CLI::Option* Command::repeated(const std::string& name, std::vector<std::string>& values,
                               const std::string& placeholder, const std::string& help) {
  return one_value_each(app->add_option(name, values, help), placeholder);
}

CLI::Option* Command::choice(const std::string& name, std::string& value,
                             const std::vector<std::string>& allowed,
                             const std::string& placeholder, const std::string& help) {
  words[placeholder] = allowed;
  const auto check = [allowed](const std::string& word) -> std::string {
    if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) return "";
    return sentence("it cannot be '" + word + "'" + did_you_mean(word, allowed)) +
           " Allowed: " + join(allowed);
  };
  return app->add_option(name, value, help)
      ->type_name(placeholder)
      ->check(CLI::Validator(check, ""));
}

CLI::Option* Command::flag(const std::string& name, bool& value, const std::string& help) {
  return app->add_flag(name, value, help)->disable_flag_override();
}

void Command::add_json(bool& value) { flag("--json", value, "print JSON instead of a table"); }

void Command::add_overrides(std::vector<std::string>& set) {
  repeated("--set", set, "KEY=VALUE", "change one value of the recipe, as in train.steps=100");
}

void Command::add_device(std::string& device) {
  option("--device", device, "DEVICE", "where to compute: cpu, cuda, cuda:1");
}

void Command::add_threads(int64_t& threads) {
  option("--threads", threads, "N", "threads to compute with")->transform(whole_number(1, 4096));
}

void Command::example(const std::string& arguments, const std::string& purpose) {
  examples.push_back({arguments, purpose});
}

Program::Program() : app_("", "echo") {
  app_.require_subcommand(0, 1);
  app_.allow_extras();
  add_help(app_);
  const auto add_files = [this](const std::vector<std::string>& files) {
    plugin_files_.insert(plugin_files_.end(), files.begin(), files.end());
  };
  one_value_each(app_.add_option_function<std::vector<std::string>>(
                     "--plugin", add_files, "load the kinds of a plugin first"),
                 "FILE")
      ->group(kEveryCommand);
  app_.add_flag("--version", show_version_, "print the program's version")->group("Options");
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

Command& Program::command(const std::string& group, const std::string& name,
                          const std::string& summary) {
  return add(app_.add_subcommand(name, summary)->group(group));
}

Command& Program::subcommand(Command& parent, const std::string& name, const std::string& summary) {
  parent.app->require_subcommand(0, 1);
  Command& command = add(parent.app->add_subcommand(name, summary)->group("Commands"));
  parent.subcommands.push_back(&command);
  return command;
}

Command& Program::add(CLI::App* app) {
  auto command = std::make_unique<Command>();
  command->app = app->allow_extras();
  add_help(*command->app);
  const auto add_files = [this](const std::vector<std::string>& files) {
    plugin_files_.insert(plugin_files_.end(), files.begin(), files.end());
  };
  one_value_each(command->app->add_option_function<std::vector<std::string>>(
                     "--plugin", add_files, "load the kinds of a plugin first"),
                 "FILE")
      ->group(kEveryCommand);
  commands_.push_back(std::move(command));
  return *commands_.back();
}

// A command comes before those below it.
const Command* Program::chosen() const {
  const Command* found = nullptr;
  for (const auto& command : commands_) {
    if (command->app->parsed()) found = command.get();
  }
  return found;
}

const CLI::App* Program::chosen_app() const {
  const Command* command = chosen();
  return command ? command->app : &app_;
}

// A name that does not exist is reported before anything that is wrong with, or missing beside, the
// others: it is most likely the reason.
void Program::parse(std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());
  const auto check_names = [this] {
    std::vector<const CLI::App*> apps;
    for (const CLI::App* app = chosen_app(); app; app = app->get_parent())
      apps.insert(apps.begin(), app);
    for (const CLI::App* app : apps) {
      const std::vector<std::string> unknown = app->remaining();
      if (!unknown.empty()) throw ConfigError(unknown_argument(*this, *app, unknown.front()));
    }
  };
  try {
    app_.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    if (!chosen() || !chosen()->subcommands.empty()) check_names();
    throw;
  } catch (const CLI::ParseError& mistake) {
    check_names();
    throw ConfigError(wrong_argument(*chosen_app(), mistake));
  }
  check_names();
}

int Program::run(std::vector<std::string> arguments) {
  if (arguments.empty()) arguments = {"--help"};
  if (arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }
  try {
    parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    const Command* command = chosen();
    const Terminal terminal = look_at(STDOUT_FILENO);
    std::cout << (command ? command_help(*command, terminal) : program_help(*this, terminal));
    return kDone;
  }
  if (show_version_) {
    std::cout << "echo-lm " << ECHO_VERSION << "\n";
    return kDone;
  }
  const Command* command = chosen();
  if (!command) {
    throw ConfigError("no command given; `" + program_name() + " --help` lists them");
  }
  if (!command->subcommands.empty()) throw ConfigError(no_subcommand(*command));
  return command->run();
}

Plugins& Program::plugins() {
  if (plugins_) return *plugins_;
  auto plugins = std::make_unique<Plugins>();
  plugins->load_builtins();
  try {
    plugins->load_environment();
    for (const std::string& file : plugin_files_) plugins->load(file);
  } catch (const Error& mistake) {
    throw ConfigError(mistake.what());  // the user named the file: exit code 2
  }
  plugins_ = std::move(plugins);
  return *plugins_;
}

Recipe Program::recipe(const std::string& file, const std::vector<std::string>& overrides) {
  std::error_code ignored;
  const RunFolder run(file);
  if (std::filesystem::is_regular_file(run.recipe(), ignored))
    return read_run_recipe(run, overrides, plugins());
  return read_recipe_with_plugins(file, overrides, plugins());
}

}  // namespace echo::cli
