// It calls a function that nobody defines.
#include "identity.h"

namespace somewhere {
void fill(int64_t count);
}

namespace {
void load(echo::Registry&) { somewhere::fill(3); }
}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "", load)
