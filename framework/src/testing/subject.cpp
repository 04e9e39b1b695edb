#include "framework/src/testing/subject.h"

#include <echo/random.h>

#include <limits>
#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

// Matrices as wide as keeps a signal's size; vectors and scalars near their initial values.
void draw_at_working_scale(Module& module, uint64_t seed) {
  initialize(module, seed);
  for (const Parameter& parameter : module.parameters()) {
    at::Tensor value = parameter.value();
    at::Generator stream = generator(seed, "working scale." + parameter.name);
    const at::Tensor noise = at::empty(value.sizes(), at::kFloat).normal_(0, 1, stream);
    if (value.dim() >= 2) {
      const auto fan_in = static_cast<double>(value.numel() / value.size(0));
      value.copy_(noise.div_(std::sqrt(fan_in)));
    } else {
      value.copy_((value.to(at::kFloat) + noise.abs_().mul_(0.2)));
    }
  }
}

std::string number(double value) {
  std::ostringstream text;
  text.precision(2);
  text << std::scientific << value;
  return text.str();
}

}  // namespace

double rms_ratio(const at::Tensor& value, const at::Tensor& reference) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (value.sizes() != reference.sizes()) return kInfinity;
  if (value.numel() == 0) return 0;
  const at::Tensor a = value.detach().to(at::kDouble);
  const at::Tensor b = reference.detach().to(at::kDouble).to(a.device());
  if (!at::isfinite(a).all().item<bool>() || !at::isfinite(b).all().item<bool>()) return kInfinity;
  const double difference = (a - b).square().mean().sqrt().item<double>();
  const double size = b.square().mean().sqrt().item<double>();
  if (difference == 0) return 0;
  return size == 0 ? kInfinity : difference / size;
}

void expect_close(const std::string& what, const at::Tensor& value, const at::Tensor& reference,
                  double tolerance) {
  if (value.sizes() != reference.sizes()) {
    std::ostringstream shapes;
    shapes << what << " has the shape " << value.sizes() << ", not " << reference.sizes();
    throw Failure(shapes.str());
  }
  const double ratio = rms_ratio(value, reference);
  if (ratio <= tolerance) return;
  throw Failure(what + ": RMS ratio " + number(ratio) + ", allowed " + number(tolerance));
}

void expect_same_bits(const std::string& what, const at::Tensor& value,
                      const at::Tensor& reference) {
  if (value.sizes() == reference.sizes() && at::equal(value, reference)) return;
  throw Failure(what + ": not the same bits (RMS ratio " + number(rms_ratio(value, reference)) +
                ")");
}

Subject::Subject(const MixerKind& kind, const Options& options, const CheckSettings& settings)
    : kind_(kind), options_(options.clone()), settings_(settings) {
  const Place place{.width = settings_.width};
  kind_.complete(*options_, place);
  traits_ = kind_.make(*options_, place)->traits();
}

std::unique_ptr<Mixer> Subject::instance(at::ScalarType parameters) const {
  const Place place{.width = settings_.width, .options = at::TensorOptions().dtype(parameters)};
  std::unique_ptr<Mixer> mixer = kind_.make(*options_, place);
  c10::NoGradGuard no_grad;
  draw_at_working_scale(*mixer, settings_.seed);
  return mixer;
}

at::Tensor Subject::input(const std::string& name, int64_t batch, int64_t length,
                          at::ScalarType dtype) const {
  at::Generator stream = generator(settings_.seed, "input." + name);
  const at::Tensor draw = at::empty({batch, length, settings_.width}, at::kFloat);
  draw.normal_(0, 1, stream);
  return draw.to(at::kBFloat16).to(dtype);
}

std::vector<int64_t> every_token(int64_t length) {
  std::vector<int64_t> cuts;
  for (int64_t t = 1; t < length; ++t) cuts.push_back(t);
  return cuts;
}

Outcome run(Mixer& mixer, const at::Tensor& x, const Feed& feed, std::optional<State> state) {
  const int64_t batch = x.size(0);
  const int64_t length = x.size(1);
  if (!state) {
    state = mixer.initial_state({.batch = batch,
                                 .capacity = feed.capacity,
                                 .device = x.device(),
                                 .dtype = x.scalar_type()});
  }
  // A mixer that needs a prefix reads the first half of its only stretch.
  at::Tensor prefix;
  if (mixer.traits().needs_prefix) {
    prefix = at::arange(length).lt((length + 1) / 2).expand({batch, length}).to(x.device());
  }
  std::vector<at::Tensor> outputs;
  std::vector<int64_t> bounds = feed.cuts;
  bounds.push_back(length);
  int64_t first = 0;
  for (const int64_t bound : bounds) {
    const int64_t count = bound - first;
    Span span;
    span.state = feed.stateless ? nullptr : &*state;
    if (feed.starts.defined()) span.starts = feed.starts.narrow(1, first, count);
    if (feed.lengths.defined()) span.lengths = (feed.lengths - first).clamp(0, count);
    const Offsets offsets = host_offsets(span.starts, span.lengths, batch, count);
    span.offsets = &offsets;
    span.prefix = prefix;
    span.stretch = feed.stretch;
    outputs.push_back(mixer(x.narrow(1, first, count), span));
    first = bound;
  }
  return {at::cat(outputs, 1), std::move(*state)};
}

Gradients gradients(const Subject& subject, Mixer& mixer, const at::Tensor& x, const Feed& feed) {
  const at::Tensor leaf = x.detach().clone().requires_grad_(true);
  for (const Parameter& parameter : mixer.parameters())
    at::Tensor(parameter.storage).mutable_grad() = at::Tensor();
  at::Tensor y = run(mixer, leaf, feed).y;
  at::Tensor w = subject.input("w", x.size(0), x.size(1), x.scalar_type());
  if (feed.lengths.defined()) {
    // Outputs of padding mean nothing.
    const at::Tensor t = at::arange(x.size(1), feed.lengths.options());
    const at::Tensor padding = (t >= feed.lengths.unsqueeze(1)).unsqueeze(2);
    y = y.masked_fill(padding, 0);
  }
  (y * w).sum().backward();
  Gradients result;
  result.x = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
  for (const Parameter& parameter : mixer.parameters()) {
    const at::Tensor gradient = parameter.gradient();
    result.parameters.emplace_back(
        parameter.name, gradient.defined() ? gradient.clone() : at::zeros_like(parameter.value()));
  }
  return result;
}

void expect_close(const std::string& what, const Gradients& value, const Gradients& reference,
                  double tolerance) {
  expect_close("gradient of x, " + what, value.x, reference.x, tolerance);
  // A gradient that is zero but for rounding is no signal of its own: each is measured against the
  // largest.
  double largest = 0;
  for (const auto& [name, gradient] : reference.parameters)
    largest = std::max(largest, gradient.abs().max().item<double>());
  for (size_t i = 0; i < reference.parameters.size(); ++i) {
    const auto& [name, gradient] = reference.parameters[i];
    if (gradient.abs().max().item<double>() < 1e-12 * largest) continue;
    expect_close("gradient of " + name + ", " + what, value.parameters[i].second, gradient,
                 tolerance);
  }
}

State row_of(const State& state, int64_t row) {
  const at::Tensor index = at::full({1}, row, state.position().options());
  State alone = state.select(index);
  alone.set_position(alone.position(), alone.position().item<int64_t>());
  return alone;
}

void expect_same_memory(const std::string& what, const State& value, const State& reference,
                        double tolerance) {
  for (int64_t row = 0; row < reference.batch(); ++row) {
    const State a = row_of(value, row);
    const State b = row_of(reference, row);
    const std::string where = what + ", row " + std::to_string(row);
    expect_same_bits("position, " + where, a.position(), b.position());
    for (const auto& [name, entry] : b.entries()) {
      if (entry.role == StateRole::derived) continue;
      if (!a.has(name)) throw Failure("the state lacks '" + name + "', " + where);
      const at::Tensor mine = a.ordered(name);
      const at::Tensor other = b.ordered(name);
      // Rings of different size remember as many tokens as the smaller.
      const int64_t ring = entry.ring;
      if (ring < 0) {
        expect_close("state '" + name + "', " + where, mine, other, tolerance);
        continue;
      }
      const int64_t count = std::min(mine.size(ring), other.size(ring));
      expect_close("state '" + name + "', " + where,
                   mine.narrow(ring, mine.size(ring) - count, count),
                   other.narrow(ring, other.size(ring) - count, count), tolerance);
    }
  }
}

}  // namespace echo::testing
