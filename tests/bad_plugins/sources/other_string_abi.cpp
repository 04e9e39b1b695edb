// Built with the other std::string ABI: dlopen would end the process.
#define _GLIBCXX_USE_CXX11_ABI 0
#include "identity.h"

namespace {
void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>("test/identity", "Returns its input");
}
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "test/identity", load)
