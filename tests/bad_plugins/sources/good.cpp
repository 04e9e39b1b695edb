// Nothing is wrong with it: the others differ from it in one thing each.
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("test/identity", "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
