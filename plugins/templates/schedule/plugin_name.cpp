#include <echo/plugin.h>

#include <algorithm>

// A straight line up to the peak rate, and another down to a last rate.
namespace plugin_name {

// What a recipe may say: {kind: plugin_name/linear, warmup: 100}.
struct Options {
  int64_t warmup = 0;
  double last = 0;

  void visit(echo::Fields& fields) {
    fields("warmup", warmup, "steps of rise from 0 to the peak rate", echo::at_least(0));
    fields("last", last, "rate of the last step, as a fraction of the peak rate",
           echo::between(0, 1));
  }
};

class Linear final : public echo::Schedule {
 public:
  Linear(const Options& options, const echo::SchedulePlace& place)
      : options_(options), steps_(place.steps) {}

  // step counts from 1. A factor of the peak rate, in [0, 1].
  double factor(int64_t step) const override {
    if (step <= options_.warmup)
      return static_cast<double>(step) / static_cast<double>(options_.warmup);
    const auto falling = static_cast<double>(std::max<int64_t>(1, steps_ - options_.warmup));
    const double passed = std::min(1.0, static_cast<double>(step - options_.warmup) / falling);
    return 1 - (1 - options_.last) * passed;
  }

 private:
  Options options_;
  int64_t steps_;
};

void load(echo::Registry& registry) {
  registry.add_schedule<Linear, Options>("plugin_name/linear", "straight lines up and down");
}

}  // namespace plugin_name

// Name, version, summary, every kind that load() registers, load().
ECHO_PLUGIN("plugin_name", "0.1.0", "Straight lines up and down", "plugin_name/linear",
            plugin_name::load)
