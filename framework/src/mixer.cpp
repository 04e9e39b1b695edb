#include <echo/error.h>
#include <echo/mixer.h>
#include <echo/stretch.h>

#include <sstream>
#include <stdexcept>

#include <ATen/ATen.h>

namespace echo {

namespace {

// What a mixer must keep to: else it has a bug.
template <class... Parts>
void require(bool kept, const Parts&... parts) {
  if (kept) return;
  std::ostringstream text;
  (text << ... << parts);
  throw std::logic_error(text.str());
}

}  // namespace

at::Tensor Mixer::operator()(const at::Tensor& x, const Span& span) {
  ECHO_CHECK(x.dim() == 3, "a mixer reads (B, T, D), not " << x.sizes());
  ECHO_CHECK(!span.state || span.state->batch() == x.size(0), "the state has another batch than x");
  ECHO_CHECK(span.offsets || (!span.starts.defined() && !span.lengths.defined()),
             "starts or lengths without offsets");
  ECHO_CHECK(!span.stretch || !span.state, "a state beside other ranks: decoding is not split");
  ECHO_CHECK(!span.stretch || traits().stretch, "a mixer that cannot split sequences over ranks");
  // Every change in place is counted, but for tensors of inference mode.
  const bool counted = !x.is_inference();
  const auto changes = counted ? x._version() : 0;
  const at::Tensor y = forward(x, span);
  require(!counted || x._version() == changes,
          "a mixer changed its input x in place; it must compute a new tensor");
  require(y.defined(), "a mixer returned no tensor for x ", x.sizes());
  require(y.sizes() == x.sizes() && y.scalar_type() == x.scalar_type() && y.device() == x.device(),
          "a mixer returned ", y.sizes(), " ", y.scalar_type(), " on ", y.device(), " for x ",
          x.sizes(), " ", x.scalar_type(), " on ", x.device(),
          "; shape, dtype and device must stay");
  if (span.state) span.state->advance(x.size(1), span.starts, span.lengths, span.offsets);
  return span.stretch ? span.stretch->tied(y) : y;
}

State Mixer::initial_state(const StateOptions& options) const {
  return State(options.batch, options.device);
}

}  // namespace echo
