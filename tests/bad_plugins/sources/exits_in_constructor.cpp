// A static constructor calls exit().
#include "identity.h"

#include <cstdlib>

namespace {

struct Table {
  Table() { std::exit(0); }
};
[[maybe_unused]] const Table table;

void load(echo::Registry&) {}

}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "", load)
