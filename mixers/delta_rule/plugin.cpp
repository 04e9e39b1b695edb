#include "mixers/delta_rule/deltanet.h"
#include "mixers/delta_rule/gated_deltanet.h"
#include "mixers/delta_rule/kda.h"

#include <echo/plugin.h>

namespace echo {

namespace {

void load(Registry& registry) {
  registry.add_mixer<DeltaNet, DeltaNetOptions>(
      "deltanet", "linear attention that corrects what it remembers of a key");
  registry.add_mixer<GatedDeltaNet, GatedDeltaNetOptions>("gated_deltanet",
                                                          "the delta rule with a decay per head");
  registry.add_mixer<Kda, KdaOptions>("kda", "the delta rule with a decay per channel of a key");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("delta_rule", "0.1.0", "DeltaNet, Gated DeltaNet and Kimi Delta Attention",
            "deltanet,gated_deltanet,kda", echo::load)
