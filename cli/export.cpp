#include "framework/src/import/export.h"

#include "cli/command.h"
#include "cli/table.h"
#include "trainers/run.h"

#include <iostream>

namespace echo::cli {

namespace {

struct ExportArguments {
  std::string run;
  std::string folder;
  bool as_json = false;
};

int run(Program& program, const ExportArguments& arguments) {
  const LoadedRun loaded = load_run(arguments.run, program.plugins());
  const std::string name =
      export_model(loaded.recipe, *loaded.model, arguments.folder, program.plugins().registry());
  if (arguments.as_json) {
    const nlohmann::ordered_json result = {{"folder", arguments.folder}, {"class", name}};
    std::cout << result.dump() << "\n";
  } else {
    print_pairs({{"folder", arguments.folder}, {"class", name}});
  }
  return kDone;
}

}  // namespace

void add_export(Program& program) {
  auto arguments = std::make_shared<ExportArguments>();
  Command& command =
      program.command("Use a trained model", "export", "write a Hugging Face checkpoint");
  command.argument("RUN", arguments->run, "a run folder, or one of its checkpoints")->required();
  command.argument("DIR", arguments->folder, "the new folder: config.json, model.safetensors")
      ->required();
  command.add_json(arguments->as_json);
  command.example("export runs/llama checkpoints/mine", "from_pretrained('checkpoints/mine')");
  command.notes =
      "The class is the one whose layers the recipe's are. Where there is none, an error names the "
      "first branch and field that do not fit the nearest one. Weights are float32.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
