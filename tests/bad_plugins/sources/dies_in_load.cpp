// Its load function aborts.
#include "identity.h"

#include <cstdlib>

namespace {
void load(echo::Registry&) { std::abort(); }
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
