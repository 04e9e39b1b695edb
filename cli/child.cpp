#include "cli/child.h"

#include <echo/error.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/wait.h>

namespace echo::cli {

namespace {

std::string end_of(int status) {
  if (WIFEXITED(status)) {
    const int code = WEXITSTATUS(status);
    return code == 0 ? "" : "it left with exit code " + std::to_string(code);
  }
  const int number = WTERMSIG(status);
  const char* name = ::sigabbrev_np(number);
  return std::string("it died of SIG") + (name ? name : std::to_string(number).c_str()) + " (" +
         ::strsignal(number) + ")";
}

void read_lines(int descriptor, const std::function<void(const std::string&)>& on_line) {
  std::string held;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    held.append(buffer.data(), static_cast<size_t>(count));
    for (size_t end; (end = held.find('\n')) != std::string::npos; held.erase(0, end + 1))
      on_line(held.substr(0, end));
  }
  if (!held.empty()) on_line(held);
}

// What is thrown must not unwind into what the parent does.
int attempt(const std::function<void(int)>& work, int descriptor) {
  try {
    work(descriptor);
    return 0;
  } catch (const std::exception& failure) {
    std::cerr << "echo: error: " << failure.what() << std::endl;
  } catch (...) {
    std::cerr << "echo: error: an exception that is no std::exception" << std::endl;
  }
  return 1;
}

}  // namespace

std::string in_child(const std::function<void(int descriptor)>& work,
                     const std::function<void(const std::string& line)>& on_line) {
  std::array<int, 2> ends{};
  std::cout.flush();
  std::fflush(nullptr);
  const bool piped = ::pipe(ends.data()) == 0;
  const pid_t child = piped ? ::fork() : -1;
  if (child < 0) throw Error(std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    std::_Exit(attempt(work, ends[1]));
  }
  ::close(ends[1]);
  read_lines(ends[0], on_line);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return end_of(status);
}

void write_line(int descriptor, const std::string& line) {
  const std::string text = line + "\n";
  for (size_t at = 0; at < text.size();) {
    const ssize_t count = ::write(descriptor, text.data() + at, text.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;
    at += static_cast<size_t>(count);
  }
}

}  // namespace echo::cli
