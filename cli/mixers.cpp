#include "cli/command.h"
#include "cli/table.h"
#include "cli/verify.h"

#include <echo/error.h>

namespace echo::cli {

namespace {

struct MixersArguments {
  VerifyArguments verify;
  bool as_json = false;
};

int list_kinds(const Registry& registry, bool as_json) {
  Table table({"kind", "summary"});
  for (const auto& [name, kind] : registry.mixers.all())
    table.add({word(name), word(kind.summary)});
  table.print(as_json);
  return kDone;
}

int run(Program& program, const MixersArguments& arguments) {
  if (arguments.verify.files.empty()) {
    if (!arguments.verify.mixer.empty())
      throw ConfigError("--mixer belongs to --verify, which takes golden files");
    return list_kinds(program.plugins().registry(), arguments.as_json);
  }
  VerifyArguments verify = arguments.verify;
  verify.as_json = arguments.as_json;
  return verify_files(program, verify);
}

}  // namespace

void add_mixers(Program& program) {
  auto arguments = std::make_shared<MixersArguments>();
  Command& command = program.command("What there is", "mixers",
                                     "what a model can be composed of; golden files verified");
  command.app
      ->add_option("--verify", arguments->verify.files,
                   "compare golden files with the mixers that they name")
      ->type_name("FILE");
  command.option("--mixer", arguments->verify.mixer, "MIXER",
                 "verify this kind instead, as one of a plugin");
  command.add_json(arguments->as_json);
  command.example("mixers", "all kinds");
  command.example("mixers --verify case.safetensors",
                  "outputs, states and gradients against a reference");
  command.example("mixers --verify *.safetensors --mixer example/attention --plugin example.so",
                  "a plugin's mixer against the same files");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
