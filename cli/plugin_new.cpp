#include "cli/plugin.h"
#include "cli/scaffold.h"

#include <echo/error.h>

#include <iostream>

#include <nlohmann/json.hpp>

namespace echo::cli {

namespace {

struct PluginNewArguments {
  std::string name;
  std::string folder;
  bool task = false, optimizer = false, schedule = false;
  bool as_json = false;
};

std::string sort_of(const PluginNewArguments& arguments) {
  std::string sort;
  for (const auto& [chosen, name] :
       {std::pair(arguments.task, "task"), std::pair(arguments.optimizer, "optimizer"),
        std::pair(arguments.schedule, "schedule")}) {
    if (!chosen) continue;
    if (!sort.empty()) {
      throw ConfigError("--" + sort + ", --" + name +
                        ": a new plugin has one kind; take one of them, and add others by hand");
    }
    sort = name;
  }
  return sort.empty() ? "mixer" : sort;
}

int run(const PluginNewArguments& arguments) {
  const Scaffold scaffold{arguments.name, sort_of(arguments),
                          arguments.folder.empty() ? arguments.name : arguments.folder};
  const std::vector<std::string> files = write_scaffold(scaffold);
  const std::vector<std::string> commands = next_commands(scaffold);
  if (arguments.as_json) {
    const nlohmann::ordered_json result = {
        {"folder", scaffold.folder.string()}, {"files", files}, {"next", commands}};
    std::cout << result.dump(2) << "\n";
    return kDone;
  }
  for (const std::string& file : files) std::cout << (scaffold.folder / file).string() << "\n";
  std::cout << "\nNext:\n";
  for (const std::string& command : commands) std::cout << "  " << command << "\n";
  return kDone;
}

}  // namespace

void add_plugin_new(Program& program, Command& group) {
  auto arguments = std::make_shared<PluginNewArguments>();
  Command& command = program.subcommand(group, "new", "write one to start from");
  command.argument("NAME", arguments->name, "of the plugin: its kinds are called NAME/...")
      ->required();
  command.flag("--task", arguments->task, "with a task instead of a mixer");
  command.flag("--optimizer", arguments->optimizer, "with an optimiser");
  command.flag("--schedule", arguments->schedule, "with a schedule of the learning rate");
  command.option("--folder", arguments->folder, "DIR", "where to (./NAME)");
  command.add_json(arguments->as_json);
  command.example("plugin new mine", "a folder mine with a mixer");
  command.example("plugin new mine --task", "with a task");
  command.notes =
      "Writes sources, a test, a recipe and a CMakeLists.txt, and prints the commands that build, "
      "check and train.";
  command.run = [arguments] { return run(*arguments); };
}

}  // namespace echo::cli
