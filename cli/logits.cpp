#include "framework/src/logits.h"

#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "cli/tokens.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/run.h"

#include <iostream>

namespace echo::cli {

namespace {

struct LogitsArguments {
  std::string run;
  std::string tokens;
  std::optional<int64_t> chunk;
  std::string out;
  std::string device = "cpu";
  int64_t threads = 0;
  bool as_json = false;
};

int run(Program& program, const LogitsArguments& arguments) {
  const std::vector<int64_t> tokens = read_tokens(arguments.tokens);
  use_deterministic_threads(arguments.threads);
  LoadRunOptions load;
  load.device = parse_device(arguments.device);
  const LoadedRun loaded = load_run(arguments.run, program.plugins(), load);
  write_logits(*loaded.model, tokens, arguments.chunk, arguments.out);
  const auto length = static_cast<int64_t>(tokens.size());
  if (arguments.as_json) {
    const nlohmann::ordered_json result = {
        {"out", arguments.out}, {"tokens", length}, {"vocabulary", loaded.model->vocabulary()}};
    std::cout << result.dump() << "\n";
  } else {
    print_pairs({{"out", arguments.out},
                 {"logits", count(length).text + " x " + count(loaded.model->vocabulary()).text}});
  }
  return kDone;
}

}  // namespace

void add_logits(Program& program) {
  auto arguments = std::make_shared<LogitsArguments>();
  Command& command =
      program.command("Use a trained model", "logits", "the scores of every next token, as a file");
  command.argument("RUN", arguments->run, "a run folder, or one of its checkpoints")->required();
  command
      .option("--tokens", arguments->tokens, "N,N,N",
              "what the model reads (@FILE: numbers in a file; -: on the standard input)")
      ->transform(token_list())
      ->required();
  command
      .option("--chunk", arguments->chunk, "N",
              "read N tokens at a time, through the state (all at once, without one)")
      ->transform(whole_number(1));
  command
      .option("--out", arguments->out, "FILE",
              "safetensors file with `logits`, float32, (tokens, vocabulary)")
      ->required();
  command.add_device(arguments->device);
  command.add_threads(arguments->threads);
  command.add_json(arguments->as_json);
  command.example("logits runs/llama --tokens 1,2,3 --out a.safetensors",
                  "row t scores the token behind token t");
  command.example("logits runs/llama --tokens @ids --chunk 1 --out b.safetensors",
                  "the same token by token");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
