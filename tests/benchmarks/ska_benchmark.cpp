// What ska costs beside its own projections as plain matrix products: time and peak memory of
// forward, forward and backward, and decoding. One thread; each figure is the least of several
// rounds in which the two take turns, in seconds of this thread.
//
//     ska_benchmark [width heads value_width rank length batch]      default 768 12 64 48 2048 1
#include "framework/src/accounting/meter.h"
#include "mixers/ska/ska.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace echo {
namespace {

using at::Tensor;

double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The least time of each, taking turns.
std::array<double, 2> least(const std::function<void()>& first, const std::function<void()>& second,
                            int rounds) {
  std::array<double, 2> best;
  best.fill(std::numeric_limits<double>::infinity());
  for (int round = 0; round < rounds; ++round) {
    const double start = seconds();
    first();
    const double middle = seconds();
    second();
    best = {std::min(best[0], middle - start), std::min(best[1], seconds() - middle)};
  }
  return best;
}

struct Sizes {
  int64_t width = 768, heads = 12, value_width = 64, rank = 48, length = 2048, batch = 1;
};

struct Floor {
  Tensor into, out;  // (rows of all projections, D), (D, H P)

  explicit Floor(const Sizes& s)
      : into(at::randn({(s.heads * (2 * s.rank + s.value_width + 1) + 15) / 16 * 16, s.width})),
        out(at::randn({s.width, s.heads * s.value_width})) {}

  Tensor operator()(const Tensor& x) const {
    const Tensor projected = at::linear(x, into);
    return at::linear(projected.slice(-1, 0, out.size(1)), out);
  }
};

void train(const std::function<Tensor(const Tensor&)>& layer, const Tensor& x, const Tensor& dy) {
  const Tensor input = x.detach().requires_grad_(true);
  layer(input).backward(dy);
}

void measure(const Sizes& s, int64_t power) {
  const SkaOptions options{
      .heads = s.heads, .rank = s.rank, .value_width = s.value_width, .power = power};
  Ska mixer(options, {.width = s.width});
  initialize(mixer, 1);
  Floor floor(s);
  const Tensor x = at::randn({s.batch, s.length, s.width});
  const Tensor dy = at::randn_like(x);
  const auto layer = [&](const Tensor& input) { return mixer(input, {}); };

  std::array<double, 2> forward, both, decode;
  {
    const c10::NoGradGuard no_grad;
    forward = least([&] { floor(x); }, [&] { layer(x); }, 7);
    State state = mixer.initial_state({.batch = s.batch});
    Span span;
    span.state = &state;
    const Tensor token = x.slice(1, 0, 1);
    decode = least(
        [&] {
          for (int i = 0; i < 64; ++i) floor(token);
        },
        [&] {
          for (int i = 0; i < 64; ++i) mixer(token, span);
        },
        15);
  }
  floor.into.requires_grad_(true);
  floor.out.requires_grad_(true);
  both = least([&] { train(floor, x, dy); }, [&] { train(layer, x, dy); }, 7);
  for (const Parameter& parameter : mixer.parameters())
    Tensor(parameter.storage).mutable_grad() = Tensor();
  const double peak = static_cast<double>(peak_bytes([&] { train(layer, x, dy); })) / (1 << 20);
  std::printf(
      "power %ld: forward %.1f ms, %.2f of the projections; forward and backward %.1f ms, %.2f, "
      "%.0f MiB; one token %.0f us, %.2f\n",
      static_cast<long>(power), 1e3 * forward[1], forward[1] / forward[0], 1e3 * both[1],
      both[1] / both[0], peak, 1e6 * decode[1] / 64, decode[1] / decode[0]);
}

}  // namespace
}  // namespace echo

int main(int count, char** words) {
  at::set_num_threads(1);
  echo::Sizes sizes;
  int64_t* const fields[] = {&sizes.width, &sizes.heads,  &sizes.value_width,
                             &sizes.rank,  &sizes.length, &sizes.batch};
  for (int i = 1; i < count && i <= 6; ++i) *fields[i - 1] = std::atol(words[i]);
  for (const int64_t power : {0, 1, 2}) echo::measure(sizes, power);
  return 0;
}
