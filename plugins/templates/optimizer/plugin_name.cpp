#include <echo/plugin.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

// Lion: the sign of an average of gradients. Chen et al., arXiv 2302.06675.
//
//     w <- w - rate (sign(b1 m + (1 - b1) g) + weight_decay w);   m <- b2 m + (1 - b2) g
namespace plugin_name {

using at::Tensor;

// What a recipe may say: {kind: plugin_name/lion, peak_rate: 3e-4}.
struct Options {
  double peak_rate = 1e-4;
  double update_average = 0.9;
  double kept_average = 0.99;
  double weight_decay = 0.1;

  void visit(echo::Fields& fields) {
    const echo::Range share = {.low = 0, .high = 1, .high_open = true};
    fields("peak_rate", peak_rate, "highest learning rate; the schedule scales it", echo::above(0));
    fields("update_average", update_average, "b1, share of the average in an update", share);
    fields("kept_average", kept_average, "b2, share of the average that stays", share);
    fields("weight_decay", weight_decay, "share of a weight that a step of rate 1 would remove",
           echo::at_least(0));
  }
};

class Lion final : public echo::Optimizer {
 public:
  Lion(const Options& options, const echo::OptimizerPlace&) : options_(options) {}
  double peak_rate() const override { return options_.peak_rate; }
  std::vector<std::string> state_names() const override { return {"average"}; }

  void update(std::span<echo::Slot> slots, double rate, int64_t) override {
    c10::NoGradGuard no_gradients;
    for (echo::Slot& slot : slots) {
      if (!slot.gradient.defined()) continue;
      Tensor& average = slot.state["average"];  // saved in checkpoints
      if (!average.defined()) average = at::zeros_like(slot.parameter);
      const Tensor step = at::lerp(slot.gradient, average, options_.update_average).sign_();
      if (slot.decay) slot.parameter.mul_(1 - rate * options_.weight_decay);
      slot.parameter.sub_(step, rate);
      average.lerp_(slot.gradient, 1 - options_.kept_average);
    }
  }

 private:
  Options options_;
};

void load(echo::Registry& registry) {
  registry.add_optimizer<Lion, Options>("plugin_name/lion", "the sign of an average of gradients");
}

}  // namespace plugin_name

// Name, version, summary, every kind that load() registers, load().
ECHO_PLUGIN("plugin_name", "0.1.0", "The optimiser Lion", "plugin_name/lion", plugin_name::load)
