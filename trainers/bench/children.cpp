#include "trainers/bench/children.h"

#include "framework/src/files/file.h"
#include "trainers/run_folder.h"

#include <echo/error.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/wait.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

constexpr int kStoppedBySignal = 75;

// Only calls that are safe between fork and exec.
[[noreturn]] void become(char* const* words, const char* log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::setpgid(0, 0);  // Ctrl-C reaches the parent only, which passes it on once
  const int nothing = ::open("/dev/null", O_RDONLY);
  const int output = ::open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  if (output >= 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
  }
  ::execv("/proc/self/exe", words);
  ::_exit(127);
}

// The last error that a program printed.
std::string last_error(const fs::path& log) {
  std::ifstream file(log, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string mark = "echo: error: ";
  const size_t begin = text.rfind(mark);
  if (begin == std::string::npos) return "";
  std::string error = text.substr(begin + mark.size());
  while (!error.empty() && error.back() == '\n') error.pop_back();
  return error;
}

std::string reason_of(int status, const fs::path& log) {
  const std::string error = last_error(log);
  if (!error.empty()) return error;
  const std::string how = WIFSIGNALED(status)
                              ? "was ended by the signal " + std::to_string(WTERMSIG(status))
                              : "left with exit code " + std::to_string(WEXITSTATUS(status));
  return "its process " + how + " (log: " + log.string() + ")";
}

}  // namespace

std::vector<std::string> Children::arguments(const Cell& cell) const {
  std::vector<std::string> words = {"echo-lm", "train"};
  if (RunFolder(run(cell)).stage() == RunStage::unfinished) {
    words.insert(words.end(), {"--resume", "--run", run(cell).string()});
  } else {
    words.insert(words.end(), {run(cell).string() + ".yaml", "--run", run(cell).string()});
  }
  words.insert(words.end(), options_.begin(), options_.end());
  return words;
}

bool Children::start(size_t index, const Cell& cell) {
  try {
    RunLock(RunFolder(run(cell)));
  } catch (const Error&) {
    if (::access(folder_.c_str(), W_OK | X_OK) == 0) return false;
    throw;
  }
  replace_file(run(cell).string() + ".yaml", cell.recipe);
  const fs::path log = run(cell).string() + ".log";
  const std::vector<std::string> list = arguments(cell);
  std::vector<char*> words;
  for (const std::string& word : list) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::setenv("OMP_WAIT_POLICY", "passive", 0);  // cells that wait leave the core to the others
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(words.data(), log.c_str(), parent);
  if (child < 0) throw Error(std::string("cannot start a process: ") + std::strerror(errno));
  running_[child] = {index, log};
  return true;
}

std::optional<CellEnd> Children::ended() {
  for (const auto& [process, child] : running_) {
    int status = 0;
    if (::waitpid(process, &status, WNOHANG) != process) continue;
    CellEnd end{.cell = child.cell};
    end.finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    end.stopped = WIFEXITED(status) && WEXITSTATUS(status) == kStoppedBySignal;
    if (!end.finished && !end.stopped) end.reason = reason_of(status, child.log);
    running_.erase(process);
    return end;
  }
  return std::nullopt;
}

void Children::stop() {
  if (stopping_) return;
  stopping_ = true;
  for (const auto& [process, child] : running_) ::kill(process, SIGTERM);
}

std::vector<size_t> Children::cells() const {
  std::vector<size_t> cells;
  for (const auto& [process, child] : running_) cells.push_back(child.cell);
  return cells;
}

}  // namespace echo
