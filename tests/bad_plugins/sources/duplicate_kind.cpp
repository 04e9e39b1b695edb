// The kind of good.cpp once more, from another file.
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("test/identity", "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
