#include "framework/src/plugin/load_watch.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

namespace echo {

namespace {

// Handlers take no argument that could say this.
std::array<char, 4096> watched{};  // the file; empty: none is being loaded
LoadWatch::Stage stage = LoadWatch::Stage::constructors;

std::string place() {
  return stage == LoadWatch::Stage::constructors ? "a static constructor" : "its load function";
}

[[noreturn]] void leave(const std::string& reason) {
  const std::string message = "echo: error: cannot load the plugin " + std::string(watched.data()) +
                              ": " + reason + "; correct the plugin, or run without it\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, message.data(), message.size());
  std::_Exit(2);
}

[[noreturn]] void on_terminate() {
  std::string reason = place() + " called std::terminate";
  if (std::exception_ptr current = std::current_exception()) {
    try {
      std::rethrow_exception(current);
    } catch (const std::exception& failure) {
      reason = place() + " threw: " + failure.what();
    } catch (...) {
      reason = place() + " threw an exception that is no std::exception";
    }
  }
  leave(reason);
}

void on_exit_called(int status, void*) {
  if (watched[0] != '\0') leave(place() + " called exit(" + std::to_string(status) + ")");
}

void on_quick_exit() {
  if (watched[0] != '\0') leave(place() + " called quick_exit()");
}

void arm() {
  static const bool armed =
      ::on_exit(on_exit_called, nullptr) == 0 && std::at_quick_exit(on_quick_exit) == 0;
  static_cast<void>(armed);
}

}  // namespace

LoadWatch::LoadWatch(const std::filesystem::path& file) {
  arm();
  std::strncpy(watched.data(), file.c_str(), watched.size() - 1);
  stage = Stage::constructors;
  before_ = std::set_terminate(on_terminate);
}

LoadWatch::~LoadWatch() {
  std::set_terminate(before_);
  watched.fill('\0');
}

void LoadWatch::enter(Stage next) { stage = next; }

}  // namespace echo
