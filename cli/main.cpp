#include "cli/command.h"
#include "cli/ranks.h"
#include "framework/src/out_of_memory.h"
#include "framework/src/text/terminal.h"
#include "framework/src/text/utf8.h"

#include <echo/error.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <new>
#include <stdexcept>
#include <thread>
#include <unistd.h>

#include <ATen/ATen.h>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace {

using namespace echo;

// A file that is opened must not get the number of a stream that was closed: what is written to
// stderr would land in it. Writing to such a stream fails, as it should.
void fill_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) == -1 && ::open("/dev/null", O_RDONLY) < 0) return;
  }
}

// Logs go to stderr, as plain lines where that is no terminal.
void set_up_logging() {
  const auto mode =
      look_at(STDERR_FILENO).colour ? spdlog::color_mode::always : spdlog::color_mode::never;
  spdlog::set_default_logger(spdlog::stderr_color_mt("echo", mode));
  spdlog::set_pattern("echo: %^%l%$: %v");
}

// What stops one rank often stops all: then the first one says it, and takes the others along
// before they have spoken.
void let_the_first_rank_speak() {
  if (cli::rank_of_process() > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
}

int complain(const std::string& message, int code) {
  let_the_first_rank_speak();
  const Terminal terminal = look_at(STDERR_FILENO);
  const std::string label = "echo: error: ";
  const int64_t rank = cli::rank_of_process();
  const std::string who = rank > 0 ? "on rank " + std::to_string(rank) + ": " : "";
  const std::string text =
      wrap(label + who + harmless(message), terminal.interactive ? terminal.width : 0, 2);
  std::cout.flush();
  std::cerr << styled(terminal, Style::red, label.substr(0, label.size() - 1))
            << text.substr(label.size() - 1) << "\n";
  return code;
}

constexpr const char* kNoMemory = "not enough memory; take a smaller batch, length or model";

int complain_about(const c10::Error& failure) {
  if (is_out_of_memory(failure)) return complain(kNoMemory, cli::kFailed);
  return complain("this is a bug in the program: " + first_line(failure), cli::kFailed);
}

int run(int argc, char** argv) {
  try {
    cli::Program program;
    cli::add_commands(program);
    return program.run({argv + 1, argv + argc});
  } catch (const ConfigError& mistake) {
    return complain(mistake.what(), cli::kMistake);
  } catch (const Error& failure) {
    return complain(failure.what(), cli::kFailed);
  } catch (const c10::Error& failure) {
    return complain_about(failure);
  } catch (const std::filesystem::filesystem_error& failure) {
    return complain(failure.path1().string() + ": " + failure.code().message(), cli::kFailed);
  } catch (const std::bad_alloc&) {
    return complain(kNoMemory, cli::kFailed);
  } catch (const std::length_error&) {
    return complain(kNoMemory, cli::kFailed);
  } catch (const std::exception& bug) {
    return complain(std::string("this is a bug in the program: ") + bug.what(), cli::kFailed);
  } catch (...) {
    return complain(
        "this is a bug in the program or in a plugin: an exception that is no "
        "std::exception",
        cli::kFailed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  fill_closed_streams();
  set_up_logging();
  const int code = run(argc, argv);
  if (code == cli::kFailed || code == cli::kMistake) cli::leave_ranks(code);
  errno = 0;
  std::cout.flush();
  if (std::cout) return code;
  if (errno == EPIPE) return code;  // whoever read the results has seen enough
  return complain(std::string("cannot write the results to stdout: ") +
                      (errno ? std::strerror(errno) : "the file is closed or full"),
                  cli::kFailed);
}
