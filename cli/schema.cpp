#include "framework/src/recipe/schema.h"

#include "cli/command.h"

#include <iostream>

namespace echo::cli {

void add_schema(Program& program) {
  Command& command = program.command("What there is", "schema",
                                     "the JSON schema of recipes, for completion in editors");
  command.notes =
      "Editors with a YAML language server complete and check a recipe that begins with the "
      "line:\n\n  # yaml-language-server: $schema=PATH/recipe.schema.json";
  command.example("schema > recipe.schema.json", "every section and field of every kind");
  command.example("schema --plugin my.so", "with the kinds of a plugin");
  command.run = [&program] {
    std::cout << json_schema(program.plugins().registry()).dump(2) << "\n";
    return static_cast<int>(kDone);
  };
}

}  // namespace echo::cli
