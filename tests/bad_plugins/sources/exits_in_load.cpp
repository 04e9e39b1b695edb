// Its load function calls exit().
#include "identity.h"

#include <cstdlib>

namespace {
void load(echo::Registry&) { std::exit(3); }
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
