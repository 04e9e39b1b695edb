// Its note is longer than 512 bytes.
#include "identity.h"

#define TEN(x) x x x x x x x x x x
#define KIND "test/" TEN(TEN("aaaaa"))

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>(KIND, "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", KIND, load)
