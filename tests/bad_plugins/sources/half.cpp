// Its load function registers one of two kinds, then throws.
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("test/first", "Returns its input");
  throw echo::Error("no licence");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/first,test/second", load)
