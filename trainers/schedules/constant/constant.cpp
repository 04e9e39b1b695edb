#include "trainers/schedules/constant/constant.h"

#include <echo/plugin.h>
#include <echo/registry.h>

namespace echo {

void ConstantOptions::visit(Fields& fields) {
  fields("warmup", warmup, "steps of linear rise from 0 to the peak rate", at_least(0));
}

Constant::Constant(const ConstantOptions& options, const SchedulePlace&) : options_(options) {}

double Constant::factor(int64_t step) const {
  if (step >= options_.warmup) return 1;
  return static_cast<double>(step) / static_cast<double>(options_.warmup);
}

namespace {
void load(Registry& registry) {
  registry.add_schedule<Constant, ConstantOptions>("constant",
                                                   "linear warm-up, then the peak rate");
}
}  // namespace

}  // namespace echo

ECHO_PLUGIN("constant", "0.1.0", "Constant learning-rate schedule", "constant", echo::load)
