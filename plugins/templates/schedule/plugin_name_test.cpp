#include <echo/plugin.h>

#include <cstdio>

extern "C" const EchoPlugin* echo_plugin_v1(void);  // made by ECHO_PLUGIN

// A factor in [0, 1] that ends at 0.
int main() {
  echo::Registry registry;
  char reason[256] = "";
  if (echo_plugin_v1()->load(&registry, reason, sizeof reason) != 0) {
    std::printf("%s\n", reason);
    return 1;
  }
  const echo::ScheduleKind& kind = *registry.schedules.find("plugin_name/linear");
  const auto schedule = kind.make(*kind.options(), {.steps = 100});
  bool holds = schedule->factor(100) == 0;
  for (int64_t step = 1; step <= 100; ++step)
    holds = holds && schedule->factor(step) >= 0 && schedule->factor(step) <= 1;
  std::printf("%s  factors lie in [0, 1] and end at 0\n", holds ? "passes" : "FAILS ");
  return holds ? 0 : 1;
}
