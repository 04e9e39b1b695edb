#include "trainers/optimizers/adamw/adamw.h"

#include <echo/error.h>
#include <echo/plugin.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

void AdamWOptions::visit(Fields& fields) {
  fields("peak_rate", peak_rate, "highest learning rate; the schedule scales it", above(0));
  fields("betas", betas, "decay of the averages of the gradient and of its square, per step",
         {.low = 0, .high = 1, .high_open = true});
  fields("eps", eps, "added to the root of the averaged square", above(0));
  fields("weight_decay", weight_decay, "share of a weight that a step of rate 1 would remove",
         at_least(0));
  fields.choice("decay", decay, {{"marked", DecayRule::marked}, {"all", DecayRule::all}},
                "which parameters decay: marked leaves out those that their module exempts (norms, "
                "biases, gates)");
}

void AdamWOptions::complete(const OptimizerPlace&) {
  if (betas.size() != 2) {
    throw FieldError("betas",
                     "takes two numbers, as in [0.9, 0.95], not " + std::to_string(betas.size()));
  }
}

AdamW::AdamW(const AdamWOptions& options, const OptimizerPlace&) : options_(options) {}

namespace {

// The tensors of one call of the fused kernel.
struct Group {
  std::vector<at::Tensor> parameters, gradients, averages, squares, steps;
};

void collect(Group& group, Slot& slot, const at::Tensor& step) {
  at::Tensor& average = slot.state["exp_avg"];
  at::Tensor& square = slot.state["exp_avg_sq"];
  if (!average.defined()) average = at::zeros_like(slot.parameter, at::MemoryFormat::Contiguous);
  if (!square.defined()) square = at::zeros_like(slot.parameter, at::MemoryFormat::Contiguous);
  group.parameters.push_back(slot.parameter);
  group.gradients.push_back(slot.gradient);
  group.averages.push_back(average);
  group.squares.push_back(square);
  group.steps.push_back(step);
}

}  // namespace

void AdamW::update(std::span<Slot> slots, double rate, int64_t step) {
  c10::NoGradGuard no_grad;
  Group decayed, exempt;
  at::Tensor count;  // the kernel takes the step as a tensor beside the parameters
  for (Slot& slot : slots) {
    if (!slot.gradient.defined()) continue;
    if (!count.defined())
      count = at::full({}, step, slot.parameter.options().dtype(at::kFloat).requires_grad(false));
    const bool decays = slot.decay || options_.decay == DecayRule::all;
    collect(decays ? decayed : exempt, slot, count);
  }
  for (auto& [group, decay] : {std::pair<Group&, double>(decayed, options_.weight_decay),
                               std::pair<Group&, double>(exempt, 0.0)}) {
    if (group.parameters.empty()) continue;
    at::_fused_adamw_(group.parameters, group.gradients, group.averages, group.squares, {},
                      group.steps, rate, options_.betas[0], options_.betas[1], decay, options_.eps,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

namespace {
void load(Registry& registry) {
  registry.add_optimizer<AdamW, AdamWOptions>("adamw", "Adam with decoupled weight decay, fused");
}
}  // namespace

}  // namespace echo

ECHO_PLUGIN("adamw", "0.1.0", "Adam with decoupled weight decay", "adamw", echo::load)
