#include <echo/plugin.h>

#include <cstdio>

#include <ATen/ATen.h>

extern "C" const EchoPlugin* echo_plugin_v1(void);  // made by ECHO_PLUGIN

namespace {

int failed = 0;

void expect(bool holds, const char* what) {
  std::printf("%s  %s\n", holds ? "passes" : "FAILS ", what);
  failed += holds ? 0 : 1;
}

}  // namespace

int main() {
  echo::Registry registry;
  char reason[256] = "";
  if (echo_plugin_v1()->load(&registry, reason, sizeof reason) != 0) {
    std::printf("%s\n", reason);
    return 1;
  }
  const echo::TaskKind& kind = *registry.tasks.find("plugin_name/copy");
  const auto task = kind.make(*kind.options(), {.seed = 1});
  const echo::Batch batch = task->batch(echo::Split::train, 10, 3);
  expect(at::equal(task->batch(echo::Split::train, 11, 1).inputs, batch.inputs.narrow(0, 1, 1)),
         "a sample is the same in every batch");
  expect(!at::equal(task->batch(echo::Split::test, 10, 3).inputs, batch.inputs),
         "no two splits are the same");
  expect(at::equal(batch.labels.narrow(1, 4, 28), batch.inputs.narrow(1, 0, 28)),
         "a label is the token of 4 places before");
  expect(batch.labels.narrow(1, 0, 4).eq(-100).all().item<bool>(), "the first 4 are not scored");
  return failed == 0 ? 0 : 1;
}
