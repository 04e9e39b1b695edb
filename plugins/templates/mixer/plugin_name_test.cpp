#include <echo/plugin.h>
#include <echo/testing.h>

#include <cstdio>

extern "C" const EchoPlugin* echo_plugin_v1(void);  // made by ECHO_PLUGIN

// Runs the conformance kit over the mixer with its default fields; `echo plugin check` takes any.
int main() {
  echo::Registry registry;
  char reason[256] = "";
  if (echo_plugin_v1()->load(&registry, reason, sizeof reason) != 0) {
    std::printf("%s\n", reason);
    return 1;
  }
  int failed = 0;
  for (const auto& [name, kind] : registry.mixers.all()) {
    for (const auto& result : echo::testing::check_mixer(kind, *kind.options())) {
      std::printf("%s  %s  %-8s  %s\n", name.c_str(), result.passed ? "passes" : "FAILS ",
                  result.id.c_str(), result.detail.c_str());
      failed += result.passed ? 0 : 1;
    }
  }
  return failed == 0 ? 0 : 1;
}
