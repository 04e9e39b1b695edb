#include "framework/src/plugin/note.h"

#include <cstddef>
#include <cstdint>
#include <sstream>

// Any bytes as a plugin: the reader must answer, within the memory of the bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::istringstream bytes(std::string(reinterpret_cast<const char*>(data), size));
  static const echo::Fingerprint host(
      "echo=4;torch=2.11.0;cuda=none;cxx11abi=1;stdlib=libstdc++;debug=0;compiler=gcc-12.2");
  const echo::PluginReport report = echo::inspect_plugin(bytes, size, host);
  if (report.note) static_cast<void>(report.note->kinds());
  return 0;
}
