#include "mixers/parallel/parallel.h"

#include <echo/plugin.h>

#include <ATen/ATen.h>

namespace echo {

namespace {

std::string path_of(size_t n) { return "mixers." + std::to_string(n); }

}  // namespace

void ParallelOptions::visit(Fields& fields) {
  fields("mixers", mixers, "whose outputs for the same tokens are added");
  fields("scales", scales, "factor of each output, in the order of the mixers; empty: 1");
}

void ParallelOptions::complete(const Place& place) {
  if (mixers.empty()) {
    throw FieldError("mixers",
                     "names no mixer; write at least one, as in [{kind: attention, heads: 4}, "
                     "mamba2]");
  }
  if (scales.empty()) scales.resize(mixers.size(), 1);
  if (scales.size() != mixers.size()) {
    throw FieldError("scales", "as many as mixers are needed (" + std::to_string(mixers.size()) +
                                   "), found " + std::to_string(scales.size()) +
                                   "; write one for each, or none at all");
  }
  for (size_t n = 0; n < mixers.size(); ++n) mixers[n].complete(place, path_of(n));
}

Parallel::Parallel(const ParallelOptions& options, const Place& place)
    : Mixer(place), scales_(options.scales) {
  for (size_t n = 0; n < options.mixers.size(); ++n)
    members_.add(child(std::to_string(n), options.mixers[n].make(place, path_of(n))));
  traits_ = members_.traits();
}

State Parallel::initial_state(const StateOptions& options) const {
  return members_.initial_state(options);
}

int64_t Parallel::flops(int64_t batch, int64_t length) const {
  return members_.flops(batch, length);
}

at::Tensor Parallel::forward(const at::Tensor& x, const Span& span) {
  at::Tensor y = members_(0, x, span);
  if (scales_[0] != 1) y = y * scales_[0];
  for (size_t n = 1; n < members_.size(); ++n) y = at::add(y, members_(n, x, span), scales_[n]);
  return y;
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Parallel, ParallelOptions>("parallel", "sum of several mixers' outputs");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("parallel", "0.1.0", "sum of several mixers' outputs", "parallel", echo::load)
