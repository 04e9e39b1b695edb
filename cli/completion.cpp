#include "cli/completion.h"

#include "cli/help.h"
#include "framework/src/text/near.h"

#include <cstdlib>
#include <filesystem>

namespace echo::cli {

namespace {

Vocabulary::Option describe(const CLI::Option& option) {
  Vocabulary::Option described;
  for (const std::string& name : option.get_snames()) described.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) described.names.push_back("--" + name);
  if (option.get_positional()) {
    described.takes = option_name(option);
  } else if (option.get_items_expected_max() > 0) {
    described.takes = option.get_type_name();
  }
  described.help = option.get_description();
  described.repeated = option.get_items_expected_max() > 1;
  return described;
}

std::vector<Vocabulary::Option> describe(const CLI::App& app, bool positional) {
  std::vector<Vocabulary::Option> list;
  for (const CLI::Option* option : visible_options(app)) {
    if (option->get_positional() == positional) list.push_back(describe(*option));
  }
  return list;
}

Vocabulary::Command describe(const Command& command) {
  const CLI::App& app = *command.app;
  Vocabulary::Command described{
      app.get_name(), app.get_description(), describe(app, false), describe(app, true), {}};
  for (const Command* below : command.subcommands) described.commands.push_back(describe(*below));
  return described;
}

template <class Kinds>
std::vector<std::string> names_of(const Kinds& kinds) {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds.all()) names.push_back(name);
  return names;
}

void replace_all(std::string& text, const std::string& mark, const std::string& value) {
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += value.size()) {
    text.replace(at, mark.size(), value);
  }
}

// 'text' for all three shells; fish has its own escapes inside quotes, but joins the same pieces.
std::string quoted(std::string text) {
  replace_all(text, "'", "'\\''");
  return "'" + text + "'";
}

std::string names_joined(const std::vector<Vocabulary::Command>& commands,
                         const std::string& separator) {
  std::vector<std::string> names;
  for (const auto& command : commands) names.push_back(command.name);
  return join(names, separator);
}

// The function's name follows the word `function`, where no shell expands an alias.
const char* const kBash =
    R"SCRIPT(# Sends `echo COMMAND ...` to the program, for these commands: @NAMES@.
# Every other use of echo is the shell's own, and so is any use inside a function or a sourced file.
function echo {
  if [[ ${#FUNCNAME[@]} -eq 1 || ${FUNCNAME[1]} == main ]]; then
    case ${1-} in
      @CASES@) ECHO_COMMAND=echo @PROGRAM@ "$@"; return ;;
    esac
  fi
  command echo "$@"
}

_echo_lm_values() {  # PLACEHOLDER WORD
  case $1 in
@WORDS@
    RECIPE)
      compopt -o filenames
      compgen -d -- "$2"; compgen -f -X '!*.yaml' -- "$2"; compgen -f -X '!*.yml' -- "$2" ;;
    RUN)
      compopt -o filenames
      [[ -n $2 ]] || compgen -G 'runs/*/' | sed 's,/$,,'
      compgen -d -- "$2" ;;
    DIR) compopt -o filenames; compgen -d -- "$2" ;;
    FILE) compopt -o filenames; compgen -f -- "$2" ;;
  esac
}

_echo_lm() {
  local word=${COMP_WORDS[COMP_CWORD]} command= takes= place=0 i entry
  local options='@OPTIONS@' arguments= commands='@NAMES@'
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ -n $takes ]]; then
      takes=
    elif [[ ${COMP_WORDS[i]} == -* ]]; then
      for entry in $options; do
        [[ $entry == "${COMP_WORDS[i]}="?* ]] && takes=${entry#*=}
      done
    elif [[ -n $commands ]]; then
      command=${command:+$command }${COMP_WORDS[i]}
      case $command in
@COMMANDS@
        *) return ;;
      esac
    else
      ((place += 1))
    fi
  done
  if [[ -n $takes ]]; then
    :
  elif [[ $word == -* ]]; then
    for entry in $options; do
      [[ ${entry%%=*} == "$word"* ]] && COMPREPLY+=("${entry%%=*}")
    done
    return
  elif [[ -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
    return
  else
    for entry in $arguments; do
      takes=$entry
      ((place -= 1)) || true
      ((place < 0)) && break
    done
    ((place < 0)) || [[ $takes == *... ]] || return
    takes=${takes%...}
  fi
  mapfile -t COMPREPLY < <(_echo_lm_values "$takes" "$word")
}
complete -o bashdefault -o default -F _echo_lm echo echo-lm
)SCRIPT";

std::string bash_options(const std::vector<Vocabulary::Option>& options) {
  std::vector<std::string> entries;
  for (const auto& option : options) {
    for (const std::string& name : option.names) {
      entries.push_back(name + (option.takes.empty() ? "" : "=" + option.takes));
    }
  }
  return join(entries, " ");
}

std::string bash_command(const Vocabulary::Command& command, const std::string& above = "") {
  const std::string name = above + command.name;
  std::string below;
  for (const auto& inner : command.commands) below += bash_command(inner, name + " ");
  std::vector<std::string> arguments;
  for (const auto& argument : command.arguments) {
    arguments.push_back(argument.takes + (argument.repeated ? "..." : ""));
  }
  return "        '" + name + "')\n          options=" + quoted(bash_options(command.options)) +
         "\n          arguments=" + quoted(join(arguments, " ")) +
         "\n          commands=" + quoted(names_joined(command.commands, " ")) + " ;;\n" + below;
}

const char* const kZsh =
    R"SCRIPT(# Sends `echo COMMAND ...` to the program, for these commands: @NAMES@.
# Every other use of echo is the shell's own, and so is any use inside a function or a sourced file.
function echo {
  if (( ${#funcstack[@]} == 1 )); then
    case ${1-} in
      (@CASES@) ECHO_COMMAND=echo @PROGRAM@ "$@"; return ;;
    esac
  fi
  builtin echo "$@"
}

_echo_lm() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands=(
@SUMMARIES@  )
  _arguments -C @OPTIONS@ '1:command:->command' '*::argument:->rest'
  case $state in
    (command)
      if [[ $service == echo ]]; then
        _describe command commands
        _files
      else
        _describe command commands
      fi ;;
    (rest)
      case $words[1] in
@COMMANDS@        (*) _files ;;
      esac ;;
  esac
}
if (( ${+functions[compdef]} )); then
  compdef _echo_lm echo echo-lm
fi
)SCRIPT";

// For a place inside [..] or before a colon of _arguments.
std::string zsh_escaped(std::string text) {
  for (const char* mark : {"\\", "[", "]", ":"}) replace_all(text, mark, std::string("\\") + mark);
  return text;
}

std::string zsh_action(const Vocabulary& vocabulary, const std::string& placeholder) {
  const auto words = vocabulary.words.find(placeholder);
  if (words != vocabulary.words.end()) return "(" + join(words->second, " ") + ")";
  if (placeholder == "RECIPE") return "_files -g \"*.(yaml|yml)(-.)\"";
  if (placeholder == "RUN" || placeholder == "DIR") return "_files -/";
  return placeholder == "FILE" ? "_files" : " ";
}

std::string zsh_value(const Vocabulary& vocabulary, const Vocabulary::Option& option) {
  if (option.takes.empty()) return "";
  return ":" + zsh_escaped(option.takes) + ":" + zsh_action(vocabulary, option.takes);
}

std::string zsh_options(const Vocabulary& vocabulary,
                        const std::vector<Vocabulary::Option>& options) {
  std::vector<std::string> specs;
  for (const auto& option : options) {
    for (const std::string& name : option.names) {
      specs.push_back(quoted((option.repeated ? "*" : "") + name + "[" + zsh_escaped(option.help) +
                             "]" + zsh_value(vocabulary, option)));
    }
  }
  return join(specs, " ");
}

std::string zsh_command(const Vocabulary& vocabulary, const Vocabulary::Command& command) {
  std::string text = "        (" + command.name + ") ";
  if (!command.commands.empty()) {
    text += "state=; _arguments -C " + zsh_options(vocabulary, command.options) + " '1:command:(" +
            names_joined(command.commands, " ") + ")' '*::argument:->below'\n" +
            "        if [[ $state == below ]]; then\n        case $words[1] in\n";
    for (const auto& below : command.commands) text += zsh_command(vocabulary, below);
    return text + "        esac\n        fi ;;\n";
  }
  text += "_arguments " + zsh_options(vocabulary, command.options);
  for (const auto& argument : command.arguments) {
    text += " " + quoted((argument.repeated ? "*" : "") + zsh_value(vocabulary, argument));
  }
  return text + " ;;\n";
}

const char* const kFish =
    R"SCRIPT(# Sends `echo COMMAND ...` to the program, for these commands: @NAMES@.
# Every other use of echo is the shell's own, and so is any use inside a function or a sourced file.
function echo
    if test (status stack-trace | string match --regex '^(?:in function|from sourcing)' | count) -le 1
        switch "$argv[1]"
            case @SPACED@
                ECHO_COMMAND=echo @PROGRAM@ $argv
                return
        end
    end
    builtin echo $argv
end

for name in echo echo-lm
    complete --command $name --erase
@COMMANDS@end
)SCRIPT";

// `condition`: when the option belongs there, as in "__fish_seen_subcommand_from doctor".
std::string fish_option(const Vocabulary& vocabulary, const std::string& condition,
                        const Vocabulary::Option& option) {
  std::string text = "    complete --command $name --condition " + quoted(condition);
  for (const std::string& name : option.names) {
    text += name.rfind("--", 0) == 0 ? " --long-option " + name.substr(2)
                                     : " --short-option " + name.substr(1);
  }
  text += " --description " + quoted(option.help);
  if (option.takes.empty()) return text + "\n";
  const auto words = vocabulary.words.find(option.takes);
  if (words == vocabulary.words.end()) return text + " --require-parameter\n";
  return text + " --exclusive --arguments " + quoted(join(words->second, " ")) + "\n";
}

std::string fish_arguments(const Vocabulary& vocabulary, const std::string& condition,
                           const Vocabulary::Command& command) {
  std::string text;
  for (const auto& argument : command.arguments) {
    const auto words = vocabulary.words.find(argument.takes);
    if (words == vocabulary.words.end()) continue;
    text += "    complete --command $name --no-files --condition " + quoted(condition) +
            " --arguments " + quoted(join(words->second, " ")) + "\n";
  }
  return text;
}

// What comes after a command: its options, the values of its arguments, the commands below it.
std::string fish_command(const Vocabulary& vocabulary, const std::string& above,
                         const Vocabulary::Command& command) {
  const std::string condition = above + "__fish_seen_subcommand_from " + command.name;
  std::string text;
  for (const auto& option : command.options) text += fish_option(vocabulary, condition, option);
  text += fish_arguments(vocabulary, condition, command);
  for (const auto& below : command.commands) {
    const std::string choosing =
        condition + "; and not __fish_seen_subcommand_from " + names_joined(command.commands, " ");
    text += "    complete --command $name --no-files --condition " + quoted(choosing) +
            " --arguments " + below.name + " --description " + quoted(below.summary) + "\n" +
            fish_command(vocabulary, condition + "; and ", below);
  }
  return text;
}

std::string finish(std::string script, const Vocabulary& vocabulary) {
  replace_all(script, "@NAMES@", names_joined(vocabulary.commands, " "));
  replace_all(script, "@SPACED@", names_joined(vocabulary.commands, " "));
  replace_all(script, "@CASES@", names_joined(vocabulary.commands, "|"));
  replace_all(script, "@PROGRAM@", quoted(vocabulary.program));
  return script;
}

}  // namespace

Vocabulary vocabulary(Program& program) {
  Vocabulary vocabulary;
  const char* launcher = std::getenv("ECHO_LAUNCHER");
  vocabulary.program =
      launcher ? launcher : std::filesystem::read_symlink("/proc/self/exe").string();
  vocabulary.options = describe(program.app(), false);
  for (const Command* command : top_commands(program))
    vocabulary.commands.push_back(describe(*command));
  const Registry& registry = program.plugins().registry();
  vocabulary.words = {{"MIXER", names_of(registry.mixers)},
                      {"TASK", names_of(registry.tasks)},
                      {"DEVICE", {"cpu", "cuda"}}};
  for (const auto& command : program.commands()) {
    vocabulary.words.insert(command->words.begin(), command->words.end());
  }
  return vocabulary;
}

std::string bash_script(const Vocabulary& vocabulary) {
  std::string commands, words;
  for (const auto& command : vocabulary.commands) commands += bash_command(command);
  for (const auto& [placeholder, list] : vocabulary.words) {
    words += "    " + placeholder + ") compgen -W " + quoted(join(list, " ")) + " -- \"$2\" ;;\n";
  }
  commands.pop_back();
  words.pop_back();
  std::string script = kBash;
  replace_all(script, "@WORDS@", words);
  replace_all(script, "@COMMANDS@", commands);
  replace_all(script, "@OPTIONS@", bash_options(vocabulary.options));
  return finish(script, vocabulary);
}

std::string zsh_script(const Vocabulary& vocabulary) {
  std::string commands, summaries;
  for (const auto& command : vocabulary.commands) {
    commands += zsh_command(vocabulary, command);
    summaries += "    " + quoted(zsh_escaped(command.name) + ":" + command.summary) + "\n";
  }
  std::string script = kZsh;
  replace_all(script, "@SUMMARIES@", summaries);
  replace_all(script, "@COMMANDS@", commands);
  replace_all(script, "@OPTIONS@", zsh_options(vocabulary, vocabulary.options));
  return finish(script, vocabulary);
}

std::string fish_script(const Vocabulary& vocabulary) {
  std::string commands;
  for (const auto& command : vocabulary.commands) {
    commands += "    complete --command $name --condition __fish_use_subcommand --arguments " +
                command.name + " --description " + quoted(command.summary) + "\n";
    commands += fish_command(vocabulary, "", command);
  }
  std::string script = kFish;
  replace_all(script, "@COMMANDS@", commands);
  return finish(script, vocabulary);
}

}  // namespace echo::cli
