#include "cli/kind_list.h"
#include "cli/verify.h"

#include <echo/error.h>

#include <iostream>

#include <c10/util/Exception.h>

namespace echo::cli {

namespace {

struct MixersArguments {
  std::string kind;
  VerifyArguments verify;
  bool as_json = false;
};

const char* memory_text(Memory memory) {
  if (memory == Memory::none) return "none: reads only its convolution's or its own token";
  return memory == Memory::constant ? "constant: the same bytes after any number of tokens"
                                    : "growing: with every token, or up to a window";
}

// What the kind can do with the default options; nothing where these fit no common width.
std::vector<std::pair<std::string, std::string>> trait_lines(const MixerKind& kind) {
  const Place place{.width = 1024, .options = at::TensorOptions().device(at::kMeta)};
  const std::unique_ptr<Options> options = kind.options();
  try {
    kind.complete(*options, place);
    const auto mixer = kind.make(*options, place);
    const Traits& traits = mixer->traits();
    return {{"memory", memory_text(traits.memory)},
            {"bfloat16", traits.bfloat16 ? "yes" : "no"},
            {"packed documents", traits.starts ? "yes" : "no"}};
  } catch (const Error&) {
    return {};
  } catch (const c10::Error&) {
    return {};
  }
}

int verify(Program& program, const MixersArguments& arguments) {
  if (!arguments.kind.empty())
    throw ConfigError("--verify takes golden files; another kind than theirs is --mixer " +
                      arguments.kind);
  VerifyArguments verify = arguments.verify;
  verify.as_json = arguments.as_json;
  return verify_files(program, verify);
}

int run(Program& program, const MixersArguments& arguments) {
  if (!arguments.verify.files.empty()) return verify(program, arguments);
  if (!arguments.verify.mixer.empty())
    throw ConfigError("--mixer belongs to --verify, which takes golden files");
  const Registry& registry = program.plugins().registry();
  if (arguments.kind.empty()) return list_kinds(registry.mixers, arguments.as_json);
  const MixerKind& kind = find_kind(registry.mixers, arguments.kind, "mixer");
  if (!arguments.as_json) return print_kind(kind, trait_lines(kind));
  std::cout << kind_json(kind).dump(2) << "\n";
  return kDone;
}

}  // namespace

void add_mixers(Program& program) {
  auto arguments = std::make_shared<MixersArguments>();
  Command& command =
      program.command("What there is", "mixers",
                      "what a model can be composed of, its fields; golden files verified");
  command.argument("KIND", arguments->kind, "the mixer to show; without it all are listed")
      ->type_name("MIXER");
  command.app
      ->add_option("--verify", arguments->verify.files,
                   "compare golden files with the mixers that they name")
      ->type_name("FILE");
  command.option("--mixer", arguments->verify.mixer, "MIXER",
                 "verify this kind instead, as one of a plugin");
  command.add_json(arguments->as_json);
  command.example("mixers", "all kinds");
  command.example("mixers ska", "its fields, with defaults and ranges");
  command.example("mixers --verify case.safetensors",
                  "outputs, states and gradients against a reference");
  command.example("mixers --verify *.safetensors --mixer example/attention --plugin example.so",
                  "a plugin's mixer against the same files");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
