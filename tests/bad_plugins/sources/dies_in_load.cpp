// Its load function dies of a signal.
#include "identity.h"

#include <csignal>

namespace {
void load(echo::Registry&) { std::raise(SIGSEGV); }
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
