#include "trainers/schedules/cosine/cosine.h"

#include <echo/plugin.h>
#include <echo/registry.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace echo {

void CosineOptions::visit(Fields& fields) {
  fields("warmup", warmup, "steps of linear rise from 0 to the peak rate", at_least(0));
  fields("final", final_fraction, "rate of the last step, as a fraction of the peak rate",
         between(0, 1));
}

Cosine::Cosine(const CosineOptions& options, const SchedulePlace& place)
    : options_(options), steps_(place.steps) {}

double Cosine::factor(int64_t step) const {
  if (step <= options_.warmup)
    return static_cast<double>(step) / static_cast<double>(options_.warmup);
  const int64_t falling = std::max<int64_t>(1, steps_ - options_.warmup);
  const double progress =
      std::min(1.0, static_cast<double>(step - options_.warmup) / static_cast<double>(falling));
  const double height = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options_.final_fraction + (1 - options_.final_fraction) * height;
}

namespace {
void load(Registry& registry) {
  registry.add_schedule<Cosine, CosineOptions>("cosine", "linear warm-up, then half a cosine");
}
}  // namespace

}  // namespace echo

ECHO_PLUGIN("cosine", "0.1.0", "Cosine learning-rate schedule", "cosine", echo::load)
