// A static constructor throws: std::terminate, through any handler.
#include "identity.h"

namespace {

struct Table {
  Table() { throw echo::Error("no table"); }
};
[[maybe_unused]] const Table table;

void load(echo::Registry&) {}

}  // namespace

ECHO_PLUGIN("test", "0.1", "A test", "", load)
