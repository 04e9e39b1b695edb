#include "cli/check.h"
#include "cli/kind_list.h"
#include "cli/numbers.h"
#include "cli/speed.h"
#include "cli/verify.h"

#include <echo/error.h>

#include <iostream>
#include <limits>

#include <c10/util/Exception.h>

namespace echo::cli {

namespace {

struct MixersArguments {
  std::string kind;
  VerifyArguments verify;
  SpeedArguments speed;
  CheckArguments check;
  std::vector<std::string> set;  // of --speed and --check
  int64_t width = 0;             // the same; 0: not given
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
            {"packed documents", traits.starts ? "yes" : "no"},
            {"split over ranks", traits.stretch ? "yes" : "no"},
            {"CUDA graph", traits.replays ? "of one token, while decoding" : "no"}};
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

int measure(Program& program, const MixersArguments& arguments) {
  if (!arguments.verify.files.empty())
    throw ConfigError("--verify compares and --speed measures; give one of them");
  SpeedArguments speed = arguments.speed;
  speed.kind = arguments.kind;
  speed.set = arguments.set;
  if (arguments.width != 0) speed.options.width = arguments.width;
  speed.as_json = arguments.as_json;
  return print_speed(program, speed);
}

int check(Program& program, const MixersArguments& arguments) {
  if (!arguments.verify.files.empty() || arguments.speed.wanted)
    throw ConfigError("--check, --speed and --verify do different things; give one of them");
  CheckArguments check = arguments.check;
  check.kind = arguments.kind;
  check.set = arguments.set;
  check.as_json = arguments.as_json;
  if (arguments.width != 0) check.settings.width = arguments.width;
  return check_kind(program, check);
}

int run(Program& program, const MixersArguments& arguments) {
  if (arguments.check.wanted) return check(program, arguments);
  if (arguments.speed.wanted) return measure(program, arguments);
  if (!arguments.verify.files.empty()) return verify(program, arguments);
  if (!arguments.verify.mixer.empty())
    throw ConfigError("--mixer belongs to --verify, which takes golden files");
  if (!arguments.set.empty() || arguments.width != 0)
    throw ConfigError("--set and --width belong to --check and --speed");
  const Registry& registry = program.plugins().registry();
  if (arguments.kind.empty()) return list_kinds(registry.mixers, arguments.as_json);
  const MixerKind& kind = find_kind(registry.mixers, arguments.kind, "mixer");
  if (!arguments.as_json) return print_kind(kind, trait_lines(kind));
  std::cout << kind_json(kind).dump(2) << "\n";
  return kDone;
}

}  // namespace

namespace {

void add_speed(Command& command, SpeedArguments& speed) {
  CLI::Option* wanted =
      command.flag("--speed", speed.wanted, "time and memory beside its own projections");
  const auto part = [wanted](CLI::Option* option) { return option->needs(wanted); };
  part(command.flag("--peers", speed.peers,
                    "with --speed: and a peer's in Python, if there is one"));
  const auto size = [&](const char* name, int64_t& value, int64_t most, const char* help) {
    part(command.option(name, value, "N", help)->transform(whole_number(1, most)));
  };
  size("--length", speed.options.length, 1 << 20, "with --speed: tokens of a pass (2048)");
  size("--batch", speed.options.batch, 1 << 16, "with --speed: sequences (1)");
  size("--rounds", speed.options.rounds, 1000,
       "with --speed: turns, of which the least counts (9)");
  part(command
           .option("--contexts", speed.contexts, "N,N",
                   "with --speed: tokens read before one is timed (1024,16384,131072,1048576)")
           ->transform(whole_numbers()));
}

void add_check(Command& command, CheckArguments& check) {
  CLI::Option* wanted =
      command.flag("--check", check.wanted, "run the conformance kit over it, a line per check");
  const auto part = [wanted](CLI::Option* option) { option->needs(wanted); };
  part(command.repeated("--only", check.settings.only, "CHECK", "with --check: this one alone"));
  part(command
           .option("--seed", check.settings.seed, "N", "with --check: of parameters and inputs (0)")
           ->transform(whole_number(0, std::numeric_limits<int64_t>::max())));
  part(command.repeated("--silent", check.settings.silent, "PARAMETER",
                        "with --check: its gradient is identically zero, and that is right"));
}

}  // namespace

void add_mixers(Program& program) {
  auto arguments = std::make_shared<MixersArguments>();
  Command& command =
      program.command("What there is", "mixers",
                      "what a model can be composed of, its fields; golden files and speed");
  command.argument("KIND", arguments->kind, "the mixer to show; without it all are listed")
      ->type_name("MIXER");
  command.app
      ->add_option("--verify", arguments->verify.files,
                   "compare golden files with the mixers that they name")
      ->type_name("FILE");
  command.option("--mixer", arguments->verify.mixer, "MIXER",
                 "verify this kind instead, as one of a plugin");
  command.repeated("--set", arguments->set, "FIELD=VALUE",
                   "with --check or --speed: a field, as in rank=48");
  command
      .option("--width", arguments->width, "N",
              "with --check or --speed: width of the model (32, 768)")
      ->transform(whole_number(1, 1 << 16));
  add_check(command, arguments->check);
  add_speed(command, arguments->speed);
  command.add_json(arguments->as_json);
  command.example("mixers", "all kinds");
  command.example("mixers ska", "its fields, with defaults and ranges");
  command.example("mixers --verify case.safetensors",
                  "outputs, states and gradients against a reference");
  command.example("mixers --verify *.safetensors --mixer example/attention --plugin example.so",
                  "a plugin's mixer against the same files");
  command.example("mixers ska --check --set power=2",
                  "one function in training, prefill and decoding; more");
  command.example("mixers ska --speed --set heads=12 --set rank=48 --set power=2",
                  "forward, backward and decoding beside its projections");
  command.example("mixers attention --speed --peers --set heads=12",
                  "and beside torch's layer in Python, in the same run");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
