#include "cli/command.h"
#include "cli/table.h"
#include "trainers/import_run.h"
#include "trainers/text.h"

#include <iostream>

namespace echo::cli {

namespace {

struct ImportArguments {
  std::string checkpoint;
  std::string run;
  bool as_json = false;
};

int run(Program& program, const ImportArguments& arguments) {
  const ImportedRun imported = import_run(
      {.checkpoint = arguments.checkpoint, .run = arguments.run, .command = command_line()},
      program.plugins());
  const std::string folder = imported.folder.path().string();
  if (arguments.as_json) {
    const nlohmann::ordered_json result = {{"run", folder},
                                           {"class", imported.class_name},
                                           {"layers", imported.layers},
                                           {"parameters", imported.parameters}};
    std::cout << result.dump() << "\n";
    return kDone;
  }
  print_pairs({{"run", folder},
               {"class", imported.class_name},
               {"layers", count(imported.layers).text},
               {"parameters", count(imported.parameters).text}});
  std::cout << "\nNext:\n  " << program_name() << " generate " << shell_word(folder)
            << " --tokens 1,2,3 --greedy\n";
  return kDone;
}

}  // namespace

void add_import(Program& program) {
  auto arguments = std::make_shared<ImportArguments>();
  Command& command =
      program.command("Use a trained model", "import", "open a Hugging Face checkpoint");
  command.argument("DIR", arguments->checkpoint, "its folder: config.json and safetensors files")
      ->required();
  command.option("--run", arguments->run, "RUN", "the new run folder (runs/NAME of DIR)");
  command.add_json(arguments->as_json);
  command.example("import checkpoints/Qwen2.5-0.5B --run runs/qwen", "a run folder like any other");
  command.notes =
      "Reads what transformers 4 and 5 write, one file or several, in 16 or 32 bits. A field of "
      "config.json that Echo cannot honour is an error that names it; none is ignored.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
