#include "trainers/stop_signal.h"

#include <csignal>

namespace echo {

namespace {

// A handler can reach nothing but globals.
volatile std::sig_atomic_t received = 0;

void remember(int signal) {
  received = signal;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

StopSignal::StopSignal() {
  received = 0;
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
  std::signal(SIGXFSZ, SIG_IGN);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGXFSZ, SIG_DFL);
}

bool StopSignal::requested() const { return received != 0; }

const char* StopSignal::name() const {
  if (received == SIGINT) return "SIGINT";
  return received == SIGTERM ? "SIGTERM" : "";
}

}  // namespace echo
