#include "cli/command.h"
#include "cli/completion.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

bool is_shell(const std::string& name) { return name == "bash" || name == "zsh" || name == "fish"; }

// The shell that asks: the parent process, else the person's login shell, else bash.
std::string calling_shell() {
  std::ifstream parent("/proc/" + std::to_string(::getppid()) + "/comm");
  std::string name;
  if (std::getline(parent, name) && is_shell(name)) return name;
  const char* login = std::getenv("SHELL");
  name = std::filesystem::path(login ? login : "").filename().string();
  return is_shell(name) ? name : "bash";
}

}  // namespace

void add_shell_init(Program& program) {
  auto shell = std::make_shared<std::string>();
  Command& command =
      program.command("The program", "shell-init",
                      "print a shell function `echo` that runs these commands, and completion");
  command.choice("SHELL", *shell, {"bash", "zsh", "fish"}, "SHELL",
                 "bash, zsh or fish; the calling shell unless it is given");
  command.example("shell-init bash", "look at what it defines");
  command.notes =
      "To use it, write one line into ~/.bashrc or ~/.zshrc:\n\n    eval \"$(" + program_name() +
      " shell-init)\"\n\nor, into ~/.config/fish/config.fish:\n\n    " + program_name() +
      " shell-init fish | source\n\nThen `echo train RECIPE`, typed at the prompt or at the top "
      "level of a script that has this line, trains: an echo whose first word is exactly the name "
      "of a command belongs to the program. Every other echo is the shell's own: no arguments, "
      "options such as -n and -e, other words (`echo test` prints test), one quoted phrase (`echo "
      "'train a model'`), and any echo inside a function or a sourced file. To print a command's "
      "name, quote the phrase or use `builtin echo`.";
  command.run = [&program, shell] {
    const std::string name = shell->empty() ? calling_shell() : *shell;
    const Vocabulary known = vocabulary(program);
    std::cout << (name == "zsh"    ? zsh_script(known)
                  : name == "fish" ? fish_script(known)
                                   : bash_script(known));
    return kDone;
  };
}

}  // namespace echo::cli
