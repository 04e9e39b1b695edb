#include "framework/src/plugin/note.h"

#include <echo/plugin.h>

namespace echo {

const char* host_fingerprint() { return ECHO_FINGERPRINT("", "", ""); }

}  // namespace echo
