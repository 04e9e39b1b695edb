#include "cli/command.h"

#include <iostream>

namespace echo::cli {

void add_recipe(Program& program) {
  struct Arguments {
    std::string file;
    std::vector<std::string> set;
  };
  auto arguments = std::make_shared<Arguments>();
  Command& command =
      program.command("What there is", "recipe", "check a recipe and print it in full");
  command.argument("RECIPE", arguments->file, "the recipe")->required();
  command.add_overrides(arguments->set);
  command.notes =
      "Prints the resolved recipe: what it extends merged, --set applied, every default written "
      "out, paths absolute. Training from it repeats the run; a run's folder holds it as "
      "recipe.yaml.";
  command.example("recipe recipes/quickstart.yaml", "all that it leaves to defaults");
  command.example("recipe recipes/quickstart.yaml --set model.width=256", "after a change");
  command.run = [&program, arguments] {
    std::cout << resolved_yaml(program.recipe(arguments->file, arguments->set));
    return static_cast<int>(kDone);
  };
}

}  // namespace echo::cli
