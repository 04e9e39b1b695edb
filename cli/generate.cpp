#include "cli/command.h"
#include "framework/src/generation.h"
#include "framework/src/text/terminal.h"
#include "framework/src/text/utf8.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/run.h"
#include "trainers/text.h"
#include "trainers/text_stream.h"

#include <echo/error.h>

#include <chrono>
#include <iostream>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace echo::cli {

namespace {

struct GenerateArguments {
  std::string run;
  std::optional<std::string> prompt;
  std::vector<int64_t> tokens;
  GenerationOptions options;
  bool greedy = false;
  std::string device = "cpu";
  int64_t threads = 0;
  bool as_json = false;
};

// Without a prompt a text begins after a line's end.
std::vector<int64_t> prompt_of(const GenerateArguments& arguments, const Task& task,
                               const std::string& kind) {
  if (!arguments.tokens.empty()) return arguments.tokens;
  if (!task.info().text) {
    throw ConfigError("the run's task " + kind +
                      " has no text; give the prompt as numbers, as in --tokens 1,2,3");
  }
  if (arguments.prompt && arguments.prompt->empty())
    throw ConfigError("--prompt is empty; leave it out to begin with a new line");
  return task.encode(arguments.prompt.value_or("\n"));
}

// Writes the text as it comes. A terminal shows the prompt, too, and no control characters.
class TextPrinter {
 public:
  explicit TextPrinter(const Task& task) : terminal_(look_at(STDOUT_FILENO)), stream_(task) {}

  void begin(const std::string& prompt) {
    if (terminal_.interactive) put(styled(terminal_, Style::dim, harmless(prompt)));
  }
  void add(int64_t token) { show(stream_.push(token)); }
  void end() {
    show(stream_.finish());
    put("\n");
  }

 private:
  void show(const std::string& text) { put(terminal_.interactive ? harmless(text) : text); }
  static void put(const std::string& text) { std::cout << text << std::flush; }

  Terminal terminal_;
  TextStream stream_;
};

int print_json(const Task& task, const std::vector<int64_t>& tokens) {
  TextStream stream(task);
  std::string text;
  for (const int64_t token : tokens) text += stream.push(token);
  const nlohmann::ordered_json result = {{"tokens", tokens}, {"text", text + stream.finish()}};
  std::cout << result.dump() << "\n";
  return kDone;
}

int run(Program& program, const GenerateArguments& arguments) {
  use_deterministic_threads(arguments.threads);
  LoadRunOptions load;
  load.device = parse_device(arguments.device);
  LoadedRun loaded = load_run(arguments.run, program.plugins(), load);
  const Task& task = *loaded.task;
  const std::vector<int64_t> prompt = prompt_of(arguments, task, loaded.recipe.task.kind);
  GenerationOptions options = arguments.options;
  if (arguments.greedy) options.temperature = 0;
  if (arguments.as_json) {
    return print_json(task, generate(*loaded.model, prompt, options, [](int64_t) { return true; }));
  }
  TextPrinter printer(task);
  printer.begin(arguments.prompt.value_or(""));
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int64_t> tokens = generate(*loaded.model, prompt, options, [&](int64_t token) {
    printer.add(token);
    return static_cast<bool>(std::cout);
  });
  printer.end();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  spdlog::info("{} tokens after {}, {} tokens per second", tokens.size(), prompt.size(),
               count_text(static_cast<double>(tokens.size()) / seconds.count()));
  return kDone;
}

}  // namespace

void add_generate(Program& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  Command& command =
      program.command("Use a trained model", "generate", "continue a text with a trained model");
  command.argument("RUN", arguments->run, "a run folder, or one of its checkpoints")->required();
  CLI::Option* prompt = command.option("--prompt", arguments->prompt, "TEXT",
                                       "what to continue (a new line, for tasks with text)");
  command.option("--tokens", arguments->tokens, "N,N,N", "the prompt as numbers of tokens")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(prompt);
  command.option("--max-tokens", arguments->options.max_tokens, "N", "how many new tokens")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  command
      .option("--temperature", arguments->options.temperature, "T",
              "below 1: bolder towards the probable; above 1: more varied")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  command.flag("--greedy", arguments->greedy, "always the most probable token");
  command
      .option("--top-k", arguments->options.top_k, "K",
              "choose among the K most probable tokens only (0: all)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command.option("--seed", arguments->options.seed, "SEED", "another seed, another text")
      ->capture_default_str();
  command.add_device(arguments->device);
  command.option("--threads", arguments->threads, "N", "threads to compute with")
      ->check(CLI::Range(1, 4096));
  command.add_json(arguments->as_json);
  command.example("generate runs/quickstart --prompt 'In the beginning '", "continue a text");
  command.example("generate runs/quickstart --prompt 'And ' --temperature 0.7 --seed 2",
                  "bolder, and another one");
  command.example("generate runs/quickstart --greedy --max-tokens 50 --json",
                  "tokens and text for other programs");
  command.example("generate runs/mqar --tokens 3,70,5,66,3 --max-tokens 1 --greedy",
                  "a task without text");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
