// Its kind has not the name of the plugin in front.
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("plain", "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "plain", load)
