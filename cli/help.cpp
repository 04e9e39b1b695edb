#include "cli/help.h"

#include "framework/src/text/near.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace echo::cli {

namespace {

constexpr int64_t kUnknownWidth = 80;
constexpr int64_t kWidest = 100;
constexpr int64_t kLeft = 24;  // columns of the left part of an entry, margin and gap included

int64_t page_width(const Terminal& terminal) {
  return terminal.width == 0 ? kUnknownWidth : std::min(terminal.width, kWidest);
}

std::string heading(const Terminal& terminal, const std::string& text) {
  return "\n" + styled(terminal, Style::bold, text) + "\n";
}

// "  --run DIR             the run folder", the help on a line of its own where there is no room.
std::string entry(const Terminal& terminal, const std::string& left, const std::string& help) {
  const std::string text = "  " + left;
  if (help.empty()) return text + "\n";
  const size_t room = kLeft - columns(text) >= 2 ? kLeft - columns(text) : 0;
  const std::string gap = room ? std::string(room, ' ') : "\n" + std::string(kLeft, ' ');
  // A first line that begins with the margin makes every line end at the page's width.
  const std::string lines =
      wrap(std::string(kLeft, '.') + help, page_width(terminal), kLeft).substr(kLeft);
  return text + gap + lines + "\n";
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

bool is_repeated(const CLI::Option& option) { return option.get_items_expected_max() > 1; }

std::string left_part(const CLI::Option& option) {
  if (option.get_positional()) return option_name(option);
  std::string text = option.get_name(false, true);
  const size_t comma = text.find(',');
  if (comma != std::string::npos) text.insert(comma + 1, " ");
  if (!is_flag(option)) text += " " + option.get_type_name();
  return text;
}

std::string help_part(const CLI::Option& option) {
  std::string text = option.get_description();
  const std::string value = option.get_default_str();
  if (!value.empty() && value != "[]" && value != "{}") text += " (default: " + value + ")";
  if (is_repeated(option) && !option.get_positional()) text += " (may be given again)";
  return text;
}

std::string option_groups(const CLI::App& app, const Terminal& terminal) {
  std::vector<std::string> groups;
  for (const CLI::Option* option : visible_options(app)) {
    const std::string group = option->get_positional() ? "Arguments" : option->get_group();
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  // Help and plugins, which were added first, come last.
  std::stable_partition(groups.begin(), groups.end(),
                        [](const std::string& group) { return group != kEveryCommand; });
  std::stable_partition(groups.begin(), groups.end(),
                        [](const std::string& group) { return group == "Arguments"; });
  std::string text;
  for (const std::string& group : groups) {
    text += heading(terminal, group + ":");
    for (const CLI::Option* option : visible_options(app)) {
      if ((option->get_positional() ? "Arguments" : option->get_group()) == group) {
        text += entry(terminal, left_part(*option), help_part(*option));
      }
    }
  }
  return text;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : program_name();
}

std::vector<std::string> names_below(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(below->get_name());
  return names;
}

std::string usage(const CLI::App& app) {
  std::string text = full_name(app);
  if (!names_below(app).empty()) text += " COMMAND";
  for (const CLI::Option* option : visible_options(app)) {
    if (!option->get_positional()) continue;
    const std::string name = option_name(*option) + (is_repeated(*option) ? "..." : "");
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return text + " [OPTIONS]";
}

// The words of a shell command, an option together with its value.
std::vector<std::string> shell_words(const std::string& command) {
  std::vector<std::string> words(1);
  bool quoted = false;
  bool option = false;  // the last word is one, and may take the next
  for (const char letter : command) {
    if (letter == '\'') quoted = !quoted;
    if (letter != ' ' || quoted) {
      words.back() += letter;
    } else {
      words.emplace_back();
    }
  }
  std::vector<std::string> joined;
  for (const std::string& word : words) {
    const bool is_option = word.rfind("--", 0) == 0;
    if (option && !is_option) {
      joined.back() += " " + word;
    } else {
      joined.push_back(word);
    }
    option = is_option;
  }
  return joined;
}

// A command on lines of at most `width` columns, all but the last with a backslash at the end.
std::string shell_lines(const std::string& command, int64_t width) {
  std::string text;
  int64_t column = 0;
  for (const std::string& word : shell_words(command)) {
    if (column > 0 && column + 1 + columns(word) + 2 > width && columns(command) > width) {
      text += " \\\n      ";
      column = 4;
    } else if (column > 0) {
      text += " ";
      ++column;
    }
    text += word;
    column += columns(word);
  }
  return text + "\n";
}

std::string examples(const std::vector<Command::Example>& list, const Terminal& terminal) {
  if (list.empty()) return "";
  std::string text = heading(terminal, "Examples:");
  for (const Command::Example& example : list) {
    text += "  " + shell_lines(program_name() + " " + example.arguments, page_width(terminal) - 2);
    if (!example.purpose.empty()) {
      text += "      " + wrap(example.purpose, page_width(terminal), 6) + "\n";
    }
  }
  return text;
}

// `test` is the launcher's own, and the shell function `echo` leaves it to the shell.
bool has_test() { return std::getenv("ECHO_LAUNCHER") && program_name() != "echo"; }

// What ./echo has beside the program: a command and variables.
std::string launcher_help(const Terminal& terminal) {
  if (!std::getenv("ECHO_LAUNCHER")) return "";
  std::string text;
  if (has_test()) {
    text = heading(terminal, "Of the checkout:") +
           entry(terminal, "test", "build everything and run the tests");
  }
  return text + heading(terminal, "Environment:") +
         entry(terminal, "ECHO_CUDA=1", "use a build with CUDA, in a folder of its own") +
         entry(terminal, "LIBTORCH_ROOT=DIR", "build with this LibTorch, not with a fetched one");
}

std::vector<std::string> command_names(const Program& program) {
  std::vector<std::string> names;
  for (const Command* command : top_commands(program)) names.push_back(command->app->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : visible_options(app)) {
    if (!option->get_positional()) names.push_back("--" + option->get_lnames().front());
  }
  return names;
}

std::string unknown_command(const Program& program, const std::string& word) {
  std::vector<std::string> names = command_names(program);
  if (has_test()) names.emplace_back("test");
  std::string text = sentence("unknown command '" + word + "'" + did_you_mean(word, names));
  const std::string extension = std::filesystem::path(word).extension();
  if (extension == ".yaml" || extension == ".yml") {
    text += " To train this recipe: `" + program_name() + " train " + word + "`.";
  }
  return text + " The commands are " + join(names) + "; `" + program_name() +
         " --help` describes them";
}

}  // namespace

std::vector<const Command*> top_commands(const Program& program) {
  std::vector<const Command*> top;
  for (const auto& command : program.commands()) {
    if (command->app->get_parent() == &program.app() && !command->app->get_group().empty())
      top.push_back(command.get());
  }
  return top;
}

std::string sentence(const std::string& text) { return text.back() == '?' ? text : text + "."; }

std::string option_name(const CLI::Option& option) {
  if (option.get_positional() && option.get_lnames().empty()) return option.get_name(true);
  return "--" + option.get_lnames().front();
}

std::vector<const CLI::Option*> visible_options(const CLI::App& app) {
  std::vector<const CLI::Option*> visible =
      app.get_options([](const CLI::Option* option) { return !option->get_group().empty(); });
  return visible;
}

std::string program_help(const Program& program, const Terminal& terminal) {
  std::string text =
      wrap(
          "Echo composes, trains and runs sequence mixers. A model is a recipe, a run is a folder.",
          page_width(terminal)) +
      "\n" + heading(terminal, "Usage:") + "  " + program_name() + " COMMAND [OPTIONS]\n";
  std::vector<std::string> groups;
  for (const Command* command : top_commands(program)) {
    const std::string group = command->app->get_group();
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  for (const std::string& group : groups) {
    text += heading(terminal, group + ":");
    for (const Command* command : top_commands(program)) {
      if (command->app->get_group() != group) continue;
      text += entry(terminal, command->app->get_name(), command->app->get_description());
    }
  }
  text += launcher_help(terminal);
  text += option_groups(program.app(), terminal);
  text += "\n" +
          wrap("`" + program_name() +
                   " COMMAND --help` shows a command's options and "
                   "examples. Exit codes: 0 done, 1 failed, 2 wrong use, recipe or file, "
                   "75 stopped by a signal and resumable.",
               page_width(terminal)) +
          "\n";
  return text;
}

std::string command_help(const Command& command, const Terminal& terminal) {
  const CLI::App& app = *command.app;
  std::string text = wrap(full_name(app) + ": " + app.get_description(), page_width(terminal)) +
                     "\n" + heading(terminal, "Usage:") + "  " +
                     wrap(usage(app), page_width(terminal) - 2, 6) + "\n";
  if (!command.subcommands.empty()) text += heading(terminal, "Commands:");
  for (const Command* below : command.subcommands)
    text += entry(terminal, below->app->get_name(), below->app->get_description());
  text += option_groups(app, terminal);
  text += examples(command.examples, terminal);
  if (!command.notes.empty()) text += "\n" + wrap(command.notes, page_width(terminal)) + "\n";
  return text;
}

std::string unknown_argument(const Program& program, const CLI::App& app,
                             const std::string& argument) {
  const bool is_option = argument.size() > 1 && argument.front() == '-';
  const bool is_program = app.get_parent() == nullptr;
  if (is_program && !is_option) return unknown_command(program, argument);
  const std::string name = full_name(app);
  const std::vector<std::string> below = names_below(app);
  if (!is_option && !below.empty()) {
    return sentence("`" + name + "` has no command '" + argument + "'" +
                    did_you_mean(argument, below)) +
           " Its commands are " + join(below) + "; `" + name + " --help` describes them";
  }
  if (!is_option) {
    return "`" + name + "` does not take the argument '" + argument + "'; usage: " + usage(app);
  }
  const std::string option = argument.substr(0, argument.find('='));
  const std::vector<std::string> names = option_names(app);
  return sentence("`" + name + "` has no option '" + option + "'" + did_you_mean(option, names)) +
         " Its options are " + join(names) + "; `" + name + " --help` describes them";
}

std::string no_subcommand(const Command& command) {
  const std::string name = full_name(*command.app);
  return "`" + name + "` needs a command: " + join(names_below(*command.app)) + "; `" + name +
         " --help` describes them";
}

std::string wrong_argument(const CLI::App& app, const CLI::ParseError& mistake) {
  const std::string what = mistake.what();
  const std::string command = "`" + full_name(app) + "`";
  // "resume was given a disallowed flag override", without the dashes
  const std::string given_a_value = what.substr(0, what.find(" was given a disallowed"));
  for (const CLI::Option* option : visible_options(app)) {
    const std::string called = option_name(*option);
    const std::string meaning = " (" + option->get_description() + ")";
    const std::string conversion = "Could not convert: " + called + " = ";
    if (what == called + " is required") {
      return command + " needs " + called + meaning + "; usage: " + usage(app);
    }
    if (is_flag(*option) && (what.rfind(conversion, 0) == 0 || called == "--" + given_a_value)) {
      return command + ": " + called + meaning + " takes no value";
    }
    if (what.rfind(conversion, 0) == 0) {
      return command + ": " + called + " takes " + option->get_type_name() + meaning + ", not '" +
             what.substr(conversion.size()) + "'";
    }
    if (what.rfind(called + ": ", 0) != 0) continue;
    if (what.find(": At Most 1 required") != std::string::npos)
      return command + ": " + called + meaning + " is given more than once; give it once";
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&mistake)) {
      return command + ": " + called + " takes " + option->get_type_name() + meaning +
             "; its value is missing";
    }
    return command + ": " + called + meaning + ": " + what.substr(called.size() + 2);
  }
  const size_t excludes = what.find(" excludes ");
  if (excludes != std::string::npos) {
    return command + ": " + what.substr(0, excludes) + " and " + what.substr(excludes + 10) +
           " exclude each other; give one of them";
  }
  return command + ": " + what + "; `" + full_name(app) + " --help` describes its options";
}

}  // namespace echo::cli
