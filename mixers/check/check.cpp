#include "mixers/check/check.h"

#include <echo/plugin.h>
#include <echo/testing.h>

#include <sstream>

#include <ATen/ATen.h>

namespace echo {

void CheckOptions::visit(Fields& fields) {
  fields("mixers", mixers, "two, with the same parameters; the output is the first's");
  fields("tolerance", tolerance, "largest RMS ratio of their difference to the first's output",
         at_least(0));
}

void CheckOptions::complete(const Place& place) {
  if (mixers.size() != 2) {
    throw FieldError("mixers", "expected two mixers to compare, found " +
                                   std::to_string(mixers.size()) +
                                   ", as in [{kind: ska}, {kind: fast/ska}]");
  }
  for (size_t n = 0; n < mixers.size(); ++n)
    mixers[n].complete(place, "mixers." + std::to_string(n));
}

Check::Check(const CheckOptions& options, const Place& place)
    : Mixer(place), tolerance_(options.tolerance) {
  Mixer& first = child("0", options.mixers[0].make(place, "mixers.0"));
  second_ = options.mixers[1].make(place, "mixers.1");
  shared_ = std::make_unique<SharedParameters>(first, *second_, "mixers.1");
  members_.add(first);
  members_.add(*second_);
  traits_ = members_.traits();
  subject_ = "block " + std::to_string(place.layer) + ": '" + options.mixers[0].kind.name +
             "' (mixers.0) and '" + options.mixers[1].kind.name + "' (mixers.1)";
}

State Check::initial_state(const StateOptions& options) const {
  return members_.initial_state(options);
}

int64_t Check::flops(int64_t batch, int64_t length) const { return members_.flops(batch, length); }

at::Tensor Check::forward(const at::Tensor& x, const Span& span) {
  shared_->refresh();
  const at::Tensor first = members_(0, x, span);
  compare(first, members_(1, x, span), span);
  return first;
}

void Check::compare(const at::Tensor& first, const at::Tensor& second, const Span& span) const {
  if (first.is_meta()) return;
  at::Tensor reference = first.detach();
  at::Tensor value = second.detach();
  if (span.lengths.defined()) {  // what stands on padding means nothing
    const at::Tensor here = padding(span.lengths, first.size(1)).logical_not().unsqueeze(2);
    reference = at::where(here, reference, at::zeros_like(reference));
    value = at::where(here, value, at::zeros_like(value));
  }
  const double ratio = testing::rms_ratio(value, reference);
  if (ratio <= tolerance_) return;
  std::ostringstream message;
  message << "check: " << subject_ << " give different outputs for the same " << first.size(0)
          << " x " << first.size(1) << " tokens: the RMS ratio is " << ratio << ", allowed is "
          << tolerance_ << "; one of them is wrong, or 'tolerance' leaves no room for rounding";
  throw Error(message.str());
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Check, CheckOptions>(
      "check", "two mixers that must agree; stops the run where they do not");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("check", "0.1.0", "two mixers that must agree", "check", echo::load)
