// Checks of what passes through the state: split, starts, grad, state.
#include "framework/src/model/fixed_state.h"
#include "framework/src/testing/checks.h"

#include <echo/random.h>

#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

std::string cut_name(const std::vector<int64_t>& cuts) {
  if (cuts.empty()) return "in one stretch";
  if (cuts.size() > 8) return "token by token";
  std::string text = "cut before token";
  for (const int64_t cut : cuts) text += " " + std::to_string(cut);
  return text;
}

// A cut at every kind of place: the ends, odd places, multiples of common chunks and beside them.
std::vector<std::vector<int64_t>> cut_plans(int64_t length) {
  std::vector<std::vector<int64_t>> plans;
  for (const int64_t cut : {1, 16, 38, 63, 64, 65, 128}) {
    if (cut < length - 1) plans.push_back({cut});
  }
  plans.push_back({length - 1});
  if (length > 8) plans.push_back({length / 3, length / 3 + 1, 2 * length / 3});
  plans.push_back(every_token(length));
  return plans;
}

// (B, T) bool with starts at these tokens of these rows.
at::Tensor starts_at(int64_t length, const std::vector<std::vector<int64_t>>& rows) {
  at::Tensor starts = at::zeros({static_cast<int64_t>(rows.size()), length}, at::kBool);
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const int64_t t : rows[row]) starts[static_cast<int64_t>(row)][t] = true;
  }
  return starts;
}

void expect_same_from_clone(Mixer& mixer, const at::Tensor& x) {
  const int64_t half = x.size(1) / 2;
  const Outcome first = run(mixer, x.narrow(1, 0, half), {});
  const at::Tensor rest = x.narrow(1, half, x.size(1) - half);
  const at::Tensor once = run(mixer, rest, {.cuts = {1, 5}}, first.state.clone()).y;
  const at::Tensor twice = run(mixer, rest, {.cuts = {1, 5}}, first.state.clone()).y;
  expect_same_bits("the same tokens from a clone of the state, twice", twice, once);
}

// Tokens from `first` on, one by one, as a recording of one of them would read them: the state's
// tensors stay where they are, and the host's count of tokens stands still.
Outcome run_replayed(Mixer& mixer, const at::Tensor& x, int64_t first) {
  const int64_t length = x.size(1), renewal = mixer.traits().renewal;
  Outcome result = run(mixer, x.narrow(1, 0, first), {.capacity = length});
  State& state = result.state;
  std::vector<at::Tensor> outputs{result.y};
  std::optional<FixedState> fixed;
  std::optional<int64_t> recorded;
  for (int64_t t = first; t < length; ++t) {
    const bool replays = fixed && (renewal == 0 || t % renewal != 0);
    if (replays && !recorded) recorded = t;
    if (replays) state.set_position(state.position(), *recorded);
    outputs.push_back(mixer(x.narrow(1, t, 1), {.state = &state}));
    if (fixed) {
      fixed->settle();
    } else {
      fixed.emplace(state);
    }
    state.set_position(state.position(), t + 1);
  }
  result.y = at::cat(outputs, 1);
  return result;
}

void expect_replays(Mixer& mixer, const at::Tensor& x, double tolerance) {
  c10::NoGradGuard no_gradients;
  const Outcome whole = run(mixer, x, {.capacity = x.size(1)});
  for (const int64_t first : {int64_t{1}, x.size(1) / 2}) {
    const std::string how = "replayed from token " + std::to_string(first) + " on";
    const Outcome replayed = run_replayed(mixer, x, first);
    expect_close("y, " + how, replayed.y, whole.y, tolerance);
    expect_same_memory(how, replayed.state, whole.state, tolerance);
  }
}

}  // namespace

std::string check_split(const Subject& subject) {
  if (!subject.traits().causal) return "not claimed: not causal";
  const double tolerance = subject.settings().tolerances.float64;
  const auto mixer = subject.instance(at::kDouble);
  for (const int64_t length : {2, 77, 150}) {
    const at::Tensor x = subject.input("x", 2, length, at::kDouble);
    for (const bool with_gradients : {false, true}) {
      c10::AutoGradMode mode(with_gradients);
      const at::Tensor stateless = run(*mixer, x, {.stateless = true}).y;
      const Outcome whole = run(*mixer, x, {.capacity = length});
      expect_close("y without a state against with one", stateless, whole.y, tolerance);
      for (const auto& cuts : cut_plans(length)) {
        const Outcome parts = run(*mixer, x, {.cuts = cuts, .capacity = length});
        expect_close("y, " + cut_name(cuts), parts.y, whole.y, tolerance);
        expect_same_memory(cut_name(cuts), parts.state, whole.state, tolerance);
        const Outcome grown = run(*mixer, x, {.cuts = cuts, .capacity = 1});
        expect_close("y from a state without capacity, " + cut_name(cuts), grown.y, whole.y,
                     tolerance);
      }
      if (length > 2) expect_same_from_clone(*mixer, x);
    }
    const Gradients reference = gradients(subject, *mixer, x, {.stateless = true});
    for (const auto& cuts : cut_plans(length)) {
      const Gradients parts = gradients(subject, *mixer, x, {.cuts = cuts});
      expect_close(cut_name(cuts), parts, reference, tolerance);
    }
    if (subject.traits().replays) expect_replays(*mixer, x, tolerance);
  }
  return "";
}

namespace {

struct Packed {
  at::Tensor x;  // (2, T, D)
  Feed feed;
  std::vector<std::vector<int64_t>> starts;
};

// y, memory and, when gradients are on, nothing else: of the last document of every row.
void expect_documents(const Subject& subject, Mixer& mixer, const Packed& packed,
                      const std::string& where) {
  const double tolerance = subject.settings().tolerances.float64;
  const int64_t length = packed.x.size(1);
  const Outcome together = run(mixer, packed.x, packed.feed);
  for (size_t row = 0; row < packed.starts.size(); ++row) {
    const at::Tensor tokens = packed.x.narrow(0, static_cast<int64_t>(row), 1);
    std::vector<int64_t> bounds = packed.starts[row];
    if (bounds.empty() || bounds.front() != 0) bounds.insert(bounds.begin(), 0);
    bounds.push_back(length);
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      const int64_t count = bounds[i + 1] - bounds[i];
      const Outcome alone = run(mixer, tokens.narrow(1, bounds[i], count), {});
      const std::string document = "document from token " + std::to_string(bounds[i]) + " of row " +
                                   std::to_string(row) + ", " + where;
      expect_close(document,
                   together.y.narrow(0, static_cast<int64_t>(row), 1).narrow(1, bounds[i], count),
                   alone.y, tolerance);
      if (bounds[i + 1] != length) continue;
      expect_same_memory("after the last " + document,
                         row_of(together.state, static_cast<int64_t>(row)), alone.state, tolerance);
    }
  }
}

// The gradient of x of packed documents is that of each document alone.
void expect_document_gradients(const Subject& subject, Mixer& mixer, const Packed& packed,
                               const std::string& where) {
  const double tolerance = subject.settings().tolerances.float64;
  const int64_t length = packed.x.size(1);
  const at::Tensor w = subject.input("w", 2, length, at::kDouble);
  const at::Tensor leaf = packed.x.clone().requires_grad_(true);
  (run(mixer, leaf, packed.feed).y * w).sum().backward();
  const at::Tensor apart = packed.x.clone().requires_grad_(true);
  for (size_t row = 0; row < packed.starts.size(); ++row) {
    const auto b = static_cast<int64_t>(row);
    std::vector<int64_t> bounds = packed.starts[row];
    if (bounds.empty() || bounds.front() != 0) bounds.insert(bounds.begin(), 0);
    bounds.push_back(length);
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      const auto part = [&](const at::Tensor& all) {
        return all.narrow(0, b, 1).narrow(1, bounds[i], bounds[i + 1] - bounds[i]);
      };
      (run(mixer, part(apart), {.stateless = true}).y * part(w)).sum().backward();
    }
  }
  expect_close("gradient of x of packed documents, " + where, leaf.grad(), apart.grad(), tolerance);
}

// A row that is recycled while decoding, beside one that goes on, with padding behind it.
void expect_recycled_row(const Subject& subject, Mixer& mixer) {
  const double tolerance = subject.settings().tolerances.float64;
  const at::Tensor x = subject.input("x", 2, 40, at::kDouble);
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{31, 36}, at::kLong);
  const Feed feed{.cuts = {20}, .starts = starts_at(40, {{25, 35}, {}}), .lengths = lengths};
  const Outcome together = run(mixer, x, feed);
  const auto alone = [&](int64_t row, int64_t first, int64_t last) {
    return run(mixer, x.narrow(0, row, 1).narrow(1, first, last - first), {});
  };
  const std::string where = "a start beside padding (a start in the padding does not count)";
  expect_close(where, together.y.narrow(0, 0, 1).narrow(1, 25, 6), alone(0, 25, 31).y, tolerance);
  expect_same_memory(where, row_of(together.state, 0), alone(0, 25, 31).state, tolerance);
  expect_same_memory(where, row_of(together.state, 1), alone(1, 0, 36).state, tolerance);
}

}  // namespace

std::string check_starts(const Subject& subject) {
  if (!subject.traits().causal || !subject.traits().starts) return "not claimed";
  const auto mixer = subject.instance(at::kDouble);
  for (const int64_t length : {77, 150}) {
    const std::vector<std::vector<int64_t>> rows = {{0, 5, 6, 40, 64, length - 1}, {13}};
    Packed packed{subject.input("x", 2, length, at::kDouble), {}, rows};
    packed.feed.starts = starts_at(length, rows);
    for (const std::vector<int64_t>& cuts :
         {std::vector<int64_t>{}, {30}, {40}, {13, 14, 64}, every_token(length)}) {
      packed.feed.cuts = cuts;
      {
        c10::NoGradGuard no_grad;
        expect_documents(subject, *mixer, packed, cut_name(cuts));
      }
      expect_documents(subject, *mixer, packed, cut_name(cuts) + ", gradients on");
      expect_document_gradients(subject, *mixer, packed, cut_name(cuts));
    }
  }
  if (subject.traits().lengths) {
    expect_recycled_row(subject, *mixer);
    c10::NoGradGuard no_grad;
    expect_recycled_row(subject, *mixer);
  }
  return "";
}

namespace {

// Central differences of sum(y * w) along random directions of +-1, one tensor at a time, against
// the gradient that autograd gives.
void expect_gradient(const Subject& subject, Mixer& mixer, const Feed& feed) {
  const int64_t length = 70;
  const at::Tensor x = subject.input("x", 2, length, at::kDouble);
  const at::Tensor w = subject.input("w", 2, length, at::kDouble);
  const Gradients all = gradients(subject, mixer, x, feed);
  at::Generator stream = generator(subject.settings().seed, "directions");
  const auto loss = [&] {
    c10::NoGradGuard no_grad;
    return (run(mixer, x, feed).y * w).sum().item<double>();
  };
  const auto compare = [&](const std::string& name, at::Tensor value, const at::Tensor& gradient) {
    for (int direction = 0; direction < 3; ++direction) {
      const at::Tensor v =
          at::empty(value.sizes(), at::kDouble).bernoulli_(0.5, stream).mul_(2).sub_(1);
      const double step = 1e-5 * std::max(1e-3, value.square().mean().sqrt().item<double>());
      const at::Tensor kept = value.clone();
      value.add_(v, step);
      const double above = loss();
      value.copy_(kept).sub_(v, step);
      const double below = loss();
      value.copy_(kept);
      const double expected = (above - below) / (2 * step);
      const double given = (gradient * v).sum().item<double>();
      // Measured against the size that such a product has.
      const double size = gradient.norm().item<double>();
      const double noise = 1e-15 * std::abs(above) / step;
      const double ratio = std::abs(given - expected) / std::max(size, 1e-30);
      if (std::abs(given - expected) <= 10 * noise) continue;
      if (ratio <= subject.settings().tolerances.gradient) continue;
      std::ostringstream text;
      text << "gradient of " << name << ", " << cut_name(feed.cuts) << ": " << given
           << " along a direction, central differences give " << expected;
      throw Failure(text.str());
    }
  };
  compare("x", x, all.x);
  for (const Parameter& parameter : mixer.parameters()) {
    for (const auto& [name, gradient] : all.parameters) {
      if (name == parameter.name) compare(name, parameter.value(), gradient);
    }
  }
}

}  // namespace

std::string check_grad(const Subject& subject) {
  const auto mixer = subject.instance(at::kDouble);
  expect_gradient(subject, *mixer, {.stateless = true});
  if (!subject.traits().causal) return "";
  expect_gradient(subject, *mixer, {.cuts = {33, 34}});
  if (subject.traits().starts)
    expect_gradient(subject, *mixer, {.cuts = {40}, .starts = starts_at(70, {{20, 50}, {}})});
  return "";
}

namespace {

void expect_bytes(const Subject& subject, Mixer& mixer) {
  std::vector<int64_t> bytes;
  for (const int64_t length : {48, 96, 192}) {
    const StateOptions options{.batch = 2, .capacity = length, .dtype = at::kFloat};
    const int64_t declared = mixer.initial_state(options).bytes();
    const at::Tensor x = subject.input("x", 2, length, at::kFloat);
    const int64_t read = run(mixer, x, {.cuts = {7}, .capacity = length}).state.bytes();
    if (read != declared)
      throw Failure("the state holds " + std::to_string(read) + " bytes after " +
                    std::to_string(length) + " tokens, initial_state has " +
                    std::to_string(declared));
    bytes.push_back(read);
  }
  const Memory memory = subject.traits().memory;
  const std::string sizes = std::to_string(bytes[0]) + ", " + std::to_string(bytes[1]) + ", " +
                            std::to_string(bytes[2]) + " bytes at T, 2T, 4T";
  if (memory == Memory::none && bytes[2] != 0)
    throw Failure("no memory is claimed, the state has " + sizes);
  if (memory == Memory::constant && (bytes[0] != bytes[2] || bytes[2] == 0))
    throw Failure("constant memory is claimed, the state has " + sizes);
  if (memory == Memory::growing && (bytes[0] >= bytes[2] || bytes[2] > 4 * bytes[0]))
    throw Failure("memory that grows with T is claimed, the state has " + sizes);
}

// What a file keeps: the memory in the order of time, and the positions.
State reloaded(const Mixer& mixer, const State& state, const StateOptions& options) {
  State fresh = mixer.initial_state(options);
  fresh.set_position(state.position().clone(), state.longest());
  for (const auto& [name, entry] : state.entries()) {
    if (entry.role == StateRole::memory) fresh.load_ordered(name, state.ordered(name));
  }
  return fresh;
}

}  // namespace

std::string check_state(const Subject& subject) {
  if (!subject.traits().causal) return "not claimed: not causal";
  c10::NoGradGuard no_grad;
  const auto mixer = subject.instance(at::kFloat);
  expect_bytes(subject, *mixer);

  const StateOptions options{.batch = 2, .capacity = 100, .dtype = at::kFloat};
  const at::Tensor x = subject.input("x", 2, 60, at::kFloat);
  const at::Tensor more = subject.input("more", 2, 40, at::kFloat);
  const Feed decoding{.cuts = {10, 11, 12, 13, 14}};
  const State half = run(*mixer, x, {.cuts = {30, 31}, .capacity = 100}).state;
  const at::Tensor expected = run(*mixer, more, decoding, half.clone()).y;
  expect_same_bits("outputs after saving and loading the state",
                   run(*mixer, more, decoding, reloaded(*mixer, half, options)).y, expected);

  State rebuilt = half.clone();
  for (const auto& [name, entry] : half.entries()) {
    if (entry.role == StateRole::derived) rebuilt.remove(name);
  }
  expect_same_bits("outputs after rebuilding derived data",
                   run(*mixer, more, decoding, std::move(rebuilt)).y, expected);

  const at::Tensor swap = at::tensor(std::vector<int64_t>{1, 0}, at::kLong);
  const at::Tensor swapped = run(*mixer, more.index_select(0, swap), decoding, half.select(swap)).y;
  expect_close("outputs of exchanged rows", swapped, expected.index_select(0, swap),
               subject.settings().tolerances.float32);
  return std::to_string(half.bytes()) + " bytes for 2 rows of 60 tokens";
}

}  // namespace echo::testing
