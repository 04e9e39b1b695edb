#include "tests/cli/process.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <pty.h>
#include <sstream>
#include <stdexcept>
#include <unistd.h>

#include <sys/wait.h>

namespace echo {

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In the child: the environment that every test starts from, then bash.
[[noreturn]] void become_bash(const std::string& command, const std::filesystem::path& folder) {
  const std::string path =
      std::filesystem::path(ECHO_PROGRAM).parent_path().string() + ":" + std::getenv("PATH");
  ::setenv("PATH", path.c_str(), 1);
  ::setenv("LC_ALL", "C.UTF-8", 1);
  ::setenv("TERM", "xterm", 1);
  ::setenv("GOLDEN", ECHO_SOURCE_DIR "/tests/golden", 1);
  ::setenv("INTEROP", ECHO_SOURCE_DIR "/tests/interop", 1);
  ::setenv("BAD_PLUGINS", BAD_PLUGINS, 1);
  for (const char* name : {"COLUMNS", "NO_COLOR", "ECHO_COMMAND", "ECHO_LAUNCHER", "ECHO_PLUGINS"})
    ::unsetenv(name);
  if (::chdir(folder.c_str()) != 0) std::_Exit(126);
  ::execl("/bin/bash", "bash", "--norc", "-c", command.c_str(), nullptr);
  std::_Exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Outcome run_on_terminal(const std::string& command, const std::filesystem::path& folder,
                        int terminal_columns) {
  winsize size{};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(terminal_columns);
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child < 0) throw std::runtime_error("forkpty failed");
  if (child == 0) become_bash(command, folder);
  Outcome outcome;
  char buffer[4096];
  for (ssize_t count; (count = ::read(terminal, buffer, sizeof buffer)) > 0;) {
    outcome.output.append(buffer, static_cast<size_t>(count));
  }
  ::close(terminal);
  outcome.code = wait_for(child);
  return outcome;
}

}  // namespace

Outcome run_bash(const std::string& command, const std::filesystem::path& folder,
                 int terminal_columns) {
  if (terminal_columns > 0) return run_on_terminal(command, folder, terminal_columns);
  const TemporaryFolder files;
  const std::string out = files.path() / "out", err = files.path() / "err";
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    if (!std::freopen("/dev/null", "r", stdin) || !std::freopen(out.c_str(), "w", stdout) ||
        !std::freopen(err.c_str(), "w", stderr)) {
      std::_Exit(126);
    }
    become_bash(command, folder);
  }
  Outcome outcome;
  outcome.code = wait_for(child);
  outcome.output = read_file(out);
  outcome.mistakes = read_file(err);
  return outcome;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "echo-cli-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make " + pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace echo
