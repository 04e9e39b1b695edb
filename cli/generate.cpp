#include "cli/command.h"
#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/tokens.h"
#include "framework/src/generation.h"
#include "framework/src/text/terminal.h"
#include "framework/src/text/utf8.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/run.h"
#include "trainers/text.h"
#include "trainers/text_stream.h"

#include <echo/error.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace echo::cli {

namespace {

struct GenerateArguments {
  std::string run;
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;  // "-": the standard input
  std::optional<std::string> tokens;       // "3,70,5", "@FILE" or "-"
  GenerationOptions options;
  bool greedy = false;
  std::string device = "cpu";
  int64_t threads = 0;
  bool as_json = false;
};

// All of a file, its last line's end included.
std::string read_prompt(const std::string& file) {
  const std::string name = "--prompt-file " + shell_word(file);
  const std::string text = read_input(file, name);
  if (text.empty()) throw ConfigError(name + " is empty; leave it out to begin with a new line");
  return text;
}

// Without a prompt a text begins after a line's end.
std::vector<int64_t> prompt_of(const GenerateArguments& arguments, const Task& task,
                               const std::string& kind) {
  if (arguments.tokens) return read_tokens(*arguments.tokens);
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

// Tokens of a task without text are nothing but numbers: their text is null.
int print_json(const Task& task, const std::vector<int64_t>& tokens) {
  nlohmann::ordered_json result = {{"tokens", tokens}, {"text", nullptr}};
  if (task.info().text) {
    TextStream stream(task);
    std::string text;
    for (const int64_t token : tokens) text += stream.push(token);
    result["text"] = text + stream.finish();
  }
  std::cout << result.dump() << "\n";
  return kDone;
}

int run(Program& program, GenerateArguments arguments) {
  if (arguments.prompt_file) arguments.prompt = read_prompt(*arguments.prompt_file);
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
  if (!arguments.prompt_file) printer.begin(arguments.prompt.value_or(""));  // a file may be long
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
  CLI::Option* file = command
                          .option("--prompt-file", arguments->prompt_file, "FILE",
                                  "what to continue, all of a file (-: of the standard input)")
                          ->excludes(prompt);
  command
      .option("--tokens", arguments->tokens, "N,N,N",
              "the prompt as numbers of tokens (@FILE: in a file; -: on the standard input)")
      ->transform(token_list())
      ->excludes(prompt)
      ->excludes(file);
  command.option("--max-tokens", arguments->options.max_tokens, "N", "how many new tokens")
      ->transform(whole_number(0))
      ->capture_default_str();
  command
      .option("--temperature", arguments->options.temperature, "T",
              "below 1: bolder towards the probable; above 1: more varied")
      ->transform(real_number(0, 1000))
      ->capture_default_str();
  command.flag("--greedy", arguments->greedy, "always the most probable token");
  command
      .option("--top-k", arguments->options.top_k, "K",
              "choose among the K most probable tokens only (0: all)")
      ->transform(whole_number(0));
  command.option("--seed", arguments->options.seed, "SEED", "another seed, another text")
      ->transform(whole_number(0))
      ->capture_default_str();
  command.add_device(arguments->device);
  command.add_threads(arguments->threads);
  command.add_json(arguments->as_json);
  command.example("generate runs/quickstart --prompt 'In the beginning '", "continue a text");
  command.example("generate runs/quickstart --prompt 'And ' --temperature 0.7 --seed 2",
                  "bolder, and another one");
  command.example("generate runs/quickstart --prompt-file README.md --max-tokens 500",
                  "continue a file (-: what a pipe brings)");
  command.example("generate runs/quickstart --greedy --max-tokens 50 --json",
                  "tokens and text for other programs");
  command.example("generate runs/mqar --tokens 3,70,5,66,3 --max-tokens 1 --greedy",
                  "a task without text");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
