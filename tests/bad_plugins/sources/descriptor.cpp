// A descriptor written by hand, without ECHO_PLUGIN. Wrong in the one thing that WRONG names: the
// build makes a plugin of each.
#include "identity.h"

#include <cstring>

#define NOTE ECHO_FINGERPRINT("test", "0.1", "")
__asm__(
    ".pushsection .note.echo,\"a\",%note\n.balign 4\n.long 5\n.long 2f-1f\n.long 1\n"
    ".asciz \"Echo\"\n.balign 4\n1:.asciz \"" NOTE "\"\n2:.balign 4\n.popsection\n");

namespace {

enum class Wrong {
  nothing,
  smaller,
  larger,
  null,
  no_fingerprint,
  other_fingerprint,
  no_name,
  no_version,
  other_version,
  no_summary,
  no_load,
  load_throws,
  load_throws_a_number,
  error_without_end,
  fails_without_reason
};
constexpr Wrong kWrong = Wrong::WRONG;

int load(void*, char* error, size_t error_size) {
  if (kWrong == Wrong::load_throws) throw echo::Error("no licence");
  if (kWrong == Wrong::load_throws_a_number) throw 42;
  if (kWrong == Wrong::error_without_end) std::memset(error, 'x', error_size);
  return kWrong == Wrong::error_without_end ? 1 : kWrong == Wrong::fails_without_reason ? 7 : 0;
}

// A later program's: a field more at its end.
struct Later {
  EchoPlugin known{sizeof(EchoPlugin), NOTE, "test", "0.1", "A test", &load};
  const char* more = "";
};

EchoPlugin changed(EchoPlugin plugin) {
  if (kWrong == Wrong::smaller) plugin.struct_size -= sizeof(void*);
  if (kWrong == Wrong::larger) plugin.struct_size = sizeof(Later);
  if (kWrong == Wrong::no_fingerprint) plugin.fingerprint = nullptr;
  if (kWrong == Wrong::other_fingerprint) plugin.fingerprint = "echo=0";
  if (kWrong == Wrong::no_name) plugin.name = nullptr;
  if (kWrong == Wrong::no_version) plugin.version = nullptr;
  if (kWrong == Wrong::other_version) plugin.version = "0.2";
  if (kWrong == Wrong::no_summary) plugin.summary = nullptr;
  if (kWrong == Wrong::no_load) plugin.load = nullptr;
  return plugin;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const EchoPlugin* echo_plugin_v1(void) {
  static Later plugin;
  if (plugin.known.struct_size == sizeof(EchoPlugin)) plugin.known = changed(plugin.known);
  return kWrong == Wrong::null ? nullptr : &plugin.known;
}
