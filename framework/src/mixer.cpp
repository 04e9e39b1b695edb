#include <echo/error.h>
#include <echo/mixer.h>

#include <ATen/ATen.h>

namespace echo {

at::Tensor Mixer::operator()(const at::Tensor& x, const Span& span) {
  ECHO_CHECK(x.dim() == 3, "a mixer reads (B, T, D), not " << x.sizes());
  ECHO_CHECK(!span.state || span.state->batch() == x.size(0), "the state has another batch than x");
  ECHO_CHECK(span.offsets || (!span.starts.defined() && !span.lengths.defined()),
             "starts or lengths without offsets");
  const at::Tensor y = forward(x, span);
  ECHO_CHECK(y.sizes() == x.sizes() && y.scalar_type() == x.scalar_type(),
             "a mixer returned " << y.sizes() << " " << y.scalar_type() << " for x " << x.sizes()
                                 << " " << x.scalar_type());
  if (span.state) span.state->advance(x.size(1), span.starts, span.lengths, span.offsets);
  return y;
}

State Mixer::initial_state(const StateOptions& options) const {
  return State(options.batch, options.device);
}

}  // namespace echo
