#include "framework/src/testing/speed.h"

#include "framework/src/accounting/meter.h"

#include <algorithm>
#include <ctime>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

using at::Tensor;
using Pass = SpeedRow::Pass;

constexpr int64_t kSmall = 16;       // a leaf with a shorter side is not a projection
constexpr double kPatience = 20;     // seconds of CPU time, after which three turns are enough
constexpr int64_t kFewest = 3;       // turns
constexpr int64_t kWarmUp = 16;      // tokens that a state reads before its position is set
constexpr double kLongToken = 4e-3;  // seconds

int64_t tokens_of_turn(double seconds_of_token) { return seconds_of_token > kLongToken ? 4 : 64; }

std::vector<Tensor> matrices_of(const Mixer& mixer) {
  std::vector<Tensor> found;
  for (const Parameter& parameter : mixer.parameters()) {
    const Tensor& leaf = parameter.storage;
    if (leaf.dim() != 2 || leaf.size(0) < kSmall || leaf.size(1) < kSmall) continue;
    const auto same = [&](const Tensor& other) { return other.data_ptr() == leaf.data_ptr(); };
    if (std::none_of(found.begin(), found.end(), same)) found.push_back(leaf.detach());
  }
  return found;
}

void forget_gradients(const Mixer& mixer) {
  for (const Parameter& parameter : mixer.parameters())
    Tensor(parameter.storage).mutable_grad() = Tensor();
}

// One stretch of tokens through a mixer.
class Stretch {
 public:
  Stretch(Mixer& mixer, const SpeedOptions& options)
      : mixer_(mixer),
        x_(at::randn({options.batch, options.length, options.width}, mixer.options())),
        gradient_(at::randn_like(x_)) {
    if (!mixer.traits().needs_prefix) return;
    const Tensor token = at::arange(options.length).unsqueeze(0);
    span_.prefix = (token < (options.length + 1) / 2).expand({options.batch, -1}).contiguous();
  }

  double forward() const {
    const c10::NoGradGuard no_grad;
    return timed([&] { mixer_(x_, span_); });
  }

  double train() const {
    forget_gradients(mixer_);
    return timed([&] {
      const Tensor input = x_.detach().requires_grad_(true);
      mixer_(input, span_).backward(gradient_);
    });
  }

 private:
  Mixer& mixer_;
  Span span_;
  Tensor x_, gradient_;
};

// Tokens one by one, always from the same position on.
class Decoding {
 public:
  Decoding(Mixer& mixer, const SpeedOptions& options, std::optional<int64_t> context)
      : mixer_(mixer),
        context_(context),
        state_(mixer.initial_state({.batch = options.batch,
                                    .capacity = context.value_or(0) + tokens_of_turn(0),
                                    .dtype = mixer.options().dtype().toScalarType()})),
        token_(at::randn({options.batch, 1, options.width}, mixer.options())) {
    for (int64_t i = 0; i < kWarmUp; ++i) step();
    rewind();
    seconds_ = timed([&] { step(); });
  }

  int64_t tokens() const { return tokens_of_turn(seconds_); }

  double turn() {
    rewind();
    return timed([&] {
             for (int64_t i = 0; i < tokens(); ++i) step();
           }) /
           static_cast<double>(tokens());
  }

 private:
  void step() {
    const c10::NoGradGuard no_grad;
    Span span;
    if (context_) span.state = &state_;
    mixer_(token_, span);
  }
  void rewind() {
    if (!context_) return;
    state_.set_position(at::full({state_.batch()}, *context_, at::kLong), *context_);
  }

  Mixer& mixer_;
  std::optional<int64_t> context_;
  State state_;
  Tensor token_;
  double seconds_ = 0;
};

std::vector<std::optional<int64_t>> contexts_of(const Mixer& mixer, const SpeedOptions& options) {
  if (mixer.traits().memory == Memory::none) return {std::nullopt};
  std::vector<std::optional<int64_t>> contexts;
  for (const int64_t context : options.contexts) {
    const int64_t bytes = mixer
                              .initial_state({.batch = options.batch,
                                              .capacity = context,
                                              .device = at::kMeta,
                                              .dtype = mixer.options().dtype().toScalarType()})
                              .bytes();
    if (bytes <= kMostMemory) contexts.push_back(context);
  }
  return contexts;
}

SpeedRow stretch_row(Pass pass, const Stretch& stretch, const Floor& floor,
                     const SpeedOptions& options, const PeerRound& peer) {
  std::vector<Round> works;
  if (pass == Pass::forward) {
    works = {[&] { return timed([&] { floor.forward(); }); }, [&] { return stretch.forward(); }};
  } else {
    works = {[&] { return timed([&] { floor.train(); }); }, [&] { return stretch.train(); }};
  }
  const bool has_peer = peer && peer(pass, {});
  if (has_peer) works.push_back([&] { return peer(pass, {}).value(); });
  const std::vector<double> seconds = least(works, options.rounds);
  SpeedRow row{.pass = pass, .context = {}, .seconds = seconds[1], .floor = seconds[0], .peer = {}};
  if (has_peer) row.peer = seconds[2];
  return row;
}

void add_token_rows(Mixer& mixer, const SpeedOptions& options, const PeerRound& peer,
                    std::vector<SpeedRow>& rows) {
  const Floor floor(mixer, options.batch, 1);
  const std::vector<std::optional<int64_t>> contexts = contexts_of(mixer, options);
  std::vector<std::unique_ptr<Decoding>> decodings;
  std::vector<Round> works = {[&] {
    constexpr int64_t kTokens = 64;
    return timed([&] {
             for (int64_t i = 0; i < kTokens; ++i) floor.forward();
           }) /
           kTokens;
  }};
  for (const std::optional<int64_t>& context : contexts) {
    decodings.push_back(std::make_unique<Decoding>(mixer, options, context));
    works.push_back([decoding = decodings.back().get()] { return decoding->turn(); });
  }
  std::vector<size_t> peers(contexts.size());  // where its turns are in `works`; 0: none
  for (size_t i = 0; i < contexts.size(); ++i) {
    if (!peer || !peer(Pass::token, contexts[i])) continue;
    peers[i] = works.size();
    works.push_back([&peer, context = contexts[i]] { return peer(Pass::token, context).value(); });
  }
  const std::vector<double> seconds = least(works, 2 * options.rounds);
  for (size_t i = 0; i < contexts.size(); ++i) {
    rows.push_back({.pass = Pass::token,
                    .context = contexts[i],
                    .seconds = seconds[i + 1],
                    .floor = seconds[0],
                    .peer = {}});
    if (peers[i] > 0) rows.back().peer = seconds[peers[i]];
  }
}

}  // namespace

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double timed(const std::function<void()>& work) {
  const double start = thread_seconds();
  work();
  return thread_seconds() - start;
}

std::vector<double> least(const std::vector<Round>& works, int64_t rounds) {
  std::vector<double> best(works.size(), std::numeric_limits<double>::infinity());
  double spent = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    if (round >= kFewest && spent > kPatience) break;
    for (size_t i = 0; i < works.size(); ++i) {
      const double start = thread_seconds();
      const double seconds = works[i]();
      best[i] = std::min(best[i], seconds);
      spent += std::max(seconds, thread_seconds() - start);  // a peer spends them in its process
    }
  }
  return best;
}

Floor::Floor(const Mixer& mixer, int64_t batch, int64_t length) : matrices_(matrices_of(mixer)) {
  for (Tensor& matrix : matrices_) {
    matrix.requires_grad_(true);
    inputs_.push_back(at::randn({batch, length, matrix.size(1)}, mixer.options()));
    gradients_.push_back(at::randn({batch, length, matrix.size(0)}, mixer.options()));
  }
}

void Floor::forward() const {
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < matrices_.size(); ++i) at::linear(inputs_[i], matrices_[i]);
}

void Floor::train() const {
  for (size_t i = 0; i < matrices_.size(); ++i) {
    Tensor(matrices_[i]).mutable_grad() = Tensor();
    const Tensor input = inputs_[i].detach().requires_grad_(true);
    at::linear(input, matrices_[i]).backward(gradients_[i]);
  }
}

std::optional<double> SpeedRow::ratio() const {
  constexpr double kNothing = 1e-6;  // of a floor without matrices: the clock's own time
  return floor > kNothing ? std::optional(seconds / floor) : std::nullopt;
}

const char* pass_name(Pass pass) {
  if (pass == Pass::forward) return "forward";
  return pass == Pass::train ? "forward and backward" : "one token";
}

Speed measure_speed(Mixer& mixer, const SpeedOptions& options, const PeerRound& peer) {
  at::set_num_threads(1);
  Speed speed;
  {
    const Stretch stretch(mixer, options);
    const Floor floor(mixer, options.batch, options.length);
    for (const Tensor& matrix : floor.matrices()) speed.matrices.push_back(matrix.sizes().vec());
    for (const Pass pass : {Pass::forward, Pass::train})
      speed.rows.push_back(stretch_row(pass, stretch, floor, options, peer));
    forget_gradients(mixer);
    speed.peak_bytes = peak_bytes([&] { stretch.train(); });
    forget_gradients(mixer);
  }
  add_token_rows(mixer, options, peer, speed.rows);
  return speed;
}

}  // namespace echo::testing
