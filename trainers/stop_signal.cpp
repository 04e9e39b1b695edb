#include "trainers/stop_signal.h"

#include <chrono>
#include <csignal>

namespace echo {

namespace {

// A handler can reach nothing but globals.
volatile std::sig_atomic_t received = 0;

void remember(int signal) {
  received = signal;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGUSR1, SIG_IGN);
}

// The terminal is gone. It stays ignored where it was, as under nohup.
void handle_hangup(void (*handler)(int)) {
  if (std::signal(SIGHUP, handler) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

}  // namespace

StopSignal::StopSignal() {
  received = 0;
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
  std::signal(SIGUSR1, remember);
  handle_hangup(remember);
  std::signal(SIGXFSZ, SIG_IGN);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGUSR1, SIG_DFL);
  handle_hangup(SIG_DFL);
  std::signal(SIGXFSZ, SIG_DFL);
}

bool StopSignal::requested() const { return received != 0; }

const char* StopSignal::name() const {
  switch (received) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "";
  }
}

GraceLimit::GraceLimit(const StopSignal& signal, double seconds, std::function<void()> give_up)
    : thread_([this, &signal, seconds, give_up = std::move(give_up)] {
        using Clock = std::chrono::steady_clock;
        auto begin = Clock::now();
        while (!over_) {
          if (!signal.requested()) begin = Clock::now();
          if (Clock::now() - begin > std::chrono::duration<double>(seconds)) return give_up();
          std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
      }) {}

GraceLimit::~GraceLimit() {
  over_ = true;
  thread_.join();
}

}  // namespace echo
