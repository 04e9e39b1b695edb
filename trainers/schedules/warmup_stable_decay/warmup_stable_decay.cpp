#include "trainers/schedules/warmup_stable_decay/warmup_stable_decay.h"

#include <echo/plugin.h>
#include <echo/registry.h>

#include <algorithm>
#include <cmath>

namespace echo {

void WarmupStableDecayOptions::visit(Fields& fields) {
  fields("warmup", warmup, "steps of linear rise from 0 to the peak rate", at_least(0));
  fields("decay", decay, "steps of the fall at the end; null: a fifth of the run", at_least(0));
  fields("final", final_fraction, "rate of the last step, as a fraction of the peak rate",
         between(0, 1));
  fields.choice("shape", shape, {{"linear", DecayShape::linear}, {"root", DecayShape::root}},
                "of the fall: linear, or 1 - sqrt(progress), which falls faster at first");
}

void WarmupStableDecayOptions::complete(const SchedulePlace& place) {
  if (!decay) decay = place.steps / 5;
}

WarmupStableDecay::WarmupStableDecay(const WarmupStableDecayOptions& options,
                                     const SchedulePlace& place)
    : options_(options), steps_(place.steps) {
  options_.complete(place);
}

double WarmupStableDecay::factor(int64_t step) const {
  double rise = 1;
  if (step < options_.warmup)
    rise = static_cast<double>(step) / static_cast<double>(options_.warmup);
  const int64_t stable = steps_ - *options_.decay;  // the last step before the fall
  if (step <= stable) return rise;
  const double progress =
      std::min(1.0, static_cast<double>(step - stable) / static_cast<double>(*options_.decay));
  const double height =
      options_.shape == DecayShape::linear ? 1 - progress : 1 - std::sqrt(progress);
  return std::min(rise, options_.final_fraction + (1 - options_.final_fraction) * height);
}

namespace {
void load(Registry& registry) {
  registry.add_schedule<WarmupStableDecay, WarmupStableDecayOptions>(
      "warmup_stable_decay", "linear warm-up, the peak rate, a fall at the end");
}
}  // namespace

}  // namespace echo

ECHO_PLUGIN("warmup_stable_decay", "0.1.0", "Warm-up, stable, decay schedule",
            "warmup_stable_decay", echo::load)
