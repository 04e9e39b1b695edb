// Built with the debug mode of the C++ library.
#define _GLIBCXX_DEBUG
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("test/identity", "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
