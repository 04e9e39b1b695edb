#include <echo/plugin.h>

#include <cstdio>

#include <ATen/ATen.h>

extern "C" const EchoPlugin* echo_plugin_v1(void);  // made by ECHO_PLUGIN

// A sum of squares must fall to almost nothing.
int main() {
  echo::Registry registry;
  char reason[256] = "";
  if (echo_plugin_v1()->load(&registry, reason, sizeof reason) != 0) {
    std::printf("%s\n", reason);
    return 1;
  }
  const echo::OptimizerKind& kind = *registry.optimizers.find("plugin_name/lion");
  const auto optimizer = kind.make(*kind.options(), {});
  std::vector<echo::Slot> slots(1);
  slots[0].parameter = at::linspace(-1, 1, 9);
  constexpr int64_t kSteps = 400;
  for (int64_t step = 1; step <= kSteps; ++step) {
    slots[0].gradient = 2 * slots[0].parameter;
    optimizer->update(slots, 0.01 * static_cast<double>(kSteps - step) / kSteps, step);
  }
  const double left = slots[0].parameter.abs().max().item<double>();
  std::printf("%s  the largest weight is %g after 400 steps\n", left < 0.05 ? "passes" : "FAILS ",
              left);
  return left < 0.05 ? 0 : 1;
}
