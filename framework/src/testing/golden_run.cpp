#include "framework/src/testing/golden_run.h"

#include "framework/src/testing/golden_fit.h"

#include <echo/testing.h>

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

constexpr const char* kState = "state.";

// Ways to cut T tokens, by name; the first is the whole.
struct Way {
  std::string group;  // "whole", "split", "single tokens"
  std::string name;   // "cut before token 3"
  std::vector<int64_t> cuts;
};

std::vector<Way> ways_of(int64_t length, bool splits) {
  std::vector<Way> ways = {{"whole", "whole", {}}};
  if (!splits || length < 2) return ways;
  std::set<int64_t> cuts = {1, 2, length / 3, length / 2, length - 2, length - 1, 16, 64};
  for (const int64_t cut : cuts) {
    if (cut > 0 && cut < length)
      ways.push_back({"split", "cut before token " + std::to_string(cut), {cut}});
  }
  if (length > 3) ways.push_back({"split", "three parts", {length / 3, length - 1}});
  Way single{"single tokens", "single tokens", {}};
  for (int64_t t = 1; t < length; ++t) single.cuts.push_back(t);
  ways.push_back(std::move(single));
  return ways;
}

bool of_kind(const Golden& golden, const char* kind) { return golden.kind.rfind(kind, 0) == 0; }

// An RMS ratio, or why there is none.
struct Measured {
  double ratio = 0;
  std::string problem;
};

Measured measured(const at::Tensor& mine, const at::Tensor& reference) {
  const double ratio = rms_ratio(mine, reference);
  if (std::isfinite(ratio)) return {ratio, ""};
  if (mine.sizes() != reference.sizes()) {
    return {ratio, "the mixer's shape is " + shape_text(mine.sizes()) + ", the file's " +
                       shape_text(reference.sizes())};
  }
  if (!at::isfinite(mine).all().item<bool>()) return {ratio, "the mixer's values are not finite"};
  if (!at::isfinite(reference).all().item<bool>())
    return {ratio, "the file's values are too large for this dtype"};
  return {ratio, "the file's values are all zero, and the mixer's are not"};
}

// Runs one file in one dtype.
class GoldenRun {
 public:
  GoldenRun(const Golden& golden, GoldenLayer& layer)
      : golden_(golden), layer_(layer), allowed_(allowed_ratios(golden, layer.dtype())) {
    const Traits& traits = layer.mixer().traits();
    splits_ = traits.causal && !traits.needs_prefix;
    has_memory_ = !layer.initial_state().entries().empty();
    // After its prefix a sequence may be cut anywhere: a stretch without a prefix reads the state.
    continues_ = splits_ || (traits.needs_prefix && has_memory_);
    if (traits.needs_prefix) prefix_ = golden.tensors.at("mask").to(at::kBool);
  }

  GoldenRatios run() {
    {
      c10::NoGradGuard no_grad;
      own_ = layer_.initial_state();
      feed(layer_.tensor("x"), {}, &own_, prefix_);
      check_states(golden_, own_);
      note_what_is_left_out();
      compare_outputs();
      compare_core();
    }
    if (golden_.has_gradients()) compare_gradients();
    return std::move(result_);
  }

 private:
  void add(const std::string& tensor, const std::string& group, const std::string& way,
           const Measured& found, double allowed) {
    result_.add({tensor, group, way, found.ratio, allowed, found.problem});
  }

  void note_what_is_left_out() {
    if (golden_.has("mask") && !prefix_.defined())
      result_.notes.insert("mask: the mixer reads no prefix with these options");
    if (golden_.next_length() > 0 && !continues_)
      result_.notes.insert("y_next: not compared, as the mixer does not go on from a state");
    for (const Golden::LossTerm& term : golden_.loss) {
      if (!loss_weights(golden_, term, own_).defined())
        result_.notes.insert(term.of + ": not in the mixer's state, and its weights are zero");
    }
  }

  // prefix: (B, T) bool of these tokens, or undefined.
  at::Tensor feed(const at::Tensor& x, const std::vector<int64_t>& cuts, State* state,
                  const at::Tensor& prefix) {
    std::vector<at::Tensor> outputs;
    std::vector<int64_t> bounds = cuts;
    bounds.push_back(x.size(1));
    int64_t first = 0;
    for (const int64_t bound : bounds) {
      Span span{.state = state};
      if (prefix.defined()) span.prefix = prefix.narrow(1, first, bound - first);
      outputs.push_back(layer_(x.narrow(1, first, bound - first), span));
      first = bound;
    }
    return at::cat(outputs, 1);
  }

  void compare_outputs() {
    const at::Tensor x = layer_.tensor("x");
    const at::Tensor y = layer_.tensor("y");
    add("y", "whole", "without a state", measured(feed(x, {}, nullptr, prefix_), y),
        allowed_.output);
    for (const Way& way : ways_of(golden_.length(), splits_)) {
      State state = layer_.initial_state();
      add("y", way.group, way.name, measured(feed(x, way.cuts, &state, prefix_), y),
          allowed_.output);
      compare_states(state, way.name);
      if (continues_) compare_next(std::move(state), "own state", way.name);
    }
    if (continues_ && has_memory_ && golden_.next_length() > 0)
      compare_next(loaded_state(), "file's state", "file's state");
  }

  // Of a ring, the tokens that it still holds; angles by their cosine and sine.
  static Measured state_ratio(const std::string& name, const StateEntry& entry,
                              const at::Tensor& mine, at::Tensor reference) {
    if (entry.ring >= 0) {
      const int64_t count = std::min(mine.size(entry.ring), reference.size(entry.ring));
      reference = reference.narrow(entry.ring, reference.size(entry.ring) - count, count);
    }
    if (name != "angle") return measured(mine, reference);
    return measured(at::cat({mine.cos(), mine.sin()}, -1),
                    at::cat({reference.cos(), reference.sin()}, -1));
  }

  void compare_states(const State& state, const std::string& way) {
    for (const auto& [full, tensor] : golden_.tensors) {
      if (full.rfind(kState, 0) != 0) continue;
      const std::string name = full.substr(6);
      if (!state.has(name)) {
        result_.notes.insert(full + ": the mixer's state has no such tensor with these options");
        continue;
      }
      const StateEntry& entry = state.entries().at(name);
      add(full, "all ways", way, state_ratio(name, entry, state.ordered(name), layer_.tensor(full)),
          allowed_.state);
    }
  }

  // The state after T tokens as the file has it; what the file lacks is the mixer's own.
  State loaded_state() const {
    State loaded = own_.clone();
    for (const auto& [name, entry] : own_.entries()) {
      if (entry.role == StateRole::derived) {
        loaded.remove(name);
        continue;
      }
      const std::string full = kState + name;
      if (!golden_.has(full)) continue;
      at::Tensor value = golden_.tensors.at(full);
      if (entry.ring >= 0) {
        const int64_t held = own_.ordered(name).size(entry.ring);
        value = value.narrow(entry.ring, value.size(entry.ring) - held, held);
      }
      loaded.load_ordered(name, value);
    }
    return loaded;
  }

  void compare_next(State state, const std::string& group, const std::string& from) {
    if (golden_.next_length() == 0) return;
    const at::Tensor x = layer_.tensor("x_next");
    const at::Tensor y = layer_.tensor("y_next");
    State copy = state.clone();
    const std::string before = from == group ? "" : from + ", then ";
    add("y_next", group, before + "together", measured(feed(x, {}, &copy, {}), y), allowed_.output);
    std::vector<int64_t> cuts;
    for (int64_t t = 1; t < x.size(1); ++t) cuts.push_back(t);
    add("y_next", group, before + "single tokens", measured(feed(x, cuts, &state, {}), y),
        allowed_.output);
  }

  // Files of blocks may hold the normalised input: then the mixer is compared without the norm.
  void compare_core() {
    if (golden_.level != Golden::Level::block || !golden_.has("h")) return;
    const at::Tensor core = layer_.mixer()(layer_.tensor("h"), {});
    add("y - x", "from h", "from h", measured(core, layer_.tensor("y") - layer_.tensor("x")),
        allowed_.output);
  }

  at::Tensor loss(const at::Tensor& y, const State& state) const {
    at::Tensor sum = at::zeros({}, y.options());
    for (const Golden::LossTerm& term : golden_.loss) {
      const at::Tensor weights = loss_weights(golden_, term, state);
      if (!weights.defined()) continue;
      const at::Tensor value = term.of == "y" ? y : state.ordered(term.of.substr(6));
      sum = sum + (value * weights.to(layer_.dtype())).sum();
    }
    return sum;
  }

  void compare_gradients() {
    c10::AutoGradMode gradients_on(true);
    std::vector<Way> ways = {{"whole", "whole", {}}};
    const int64_t length = golden_.length();
    if (splits_ && length > 2) {
      ways.push_back({"split", "cut before token 1", {1}});
      ways.push_back({"split", "three parts", {length / 2, length - 1}});
    }
    for (const Way& way : ways) {
      const at::Tensor x = layer_.tensor("x").clone().requires_grad_(true);
      for (const auto& [name, parameter] : layer_.parameters())
        at::Tensor(parameter.storage).mutable_grad() = at::Tensor();
      State state = layer_.initial_state();
      const at::Tensor y = feed(x, way.cuts, &state, prefix_);
      loss(y, state).backward();
      compare_gradients_of(way, x.grad());
    }
  }

  void compare_gradients_of(const Way& way, const at::Tensor& dx) {
    const auto add_gradient = [&](const std::string& name, const Measured& found) {
      add(name, "all ways", way.name, found, allowed_.gradient);
    };
    if (golden_.has("dx")) add_gradient("dx", measured(dx, layer_.tensor("dx")));
    const double largest = largest_gradient();
    for (const auto& [name, parameter] : layer_.parameters()) {
      const std::string full = "d_" + name;
      if (!golden_.has(full)) {
        result_.notes.insert(full + ": not in the file");
        continue;
      }
      at::Tensor mine = parameter.gradient();
      if (!mine.defined()) mine = at::zeros_like(parameter.value());
      const at::Tensor reference = golden_.tensors.at(full).to(at::kDouble);
      if (reference.sizes() != mine.sizes()) {
        throw mistake(golden_, "the tensor '" + full + "' is " + shape_text(reference.sizes()) +
                                   ", and its parameter is " + shape_text(mine.sizes()));
      }
      // A gradient that is zero but for rounding has no digits to compare: it only has to be small
      // beside the others.
      if (rms(reference) <= 1e-9 * largest) {
        result_.notes.insert(full + ": identically zero, so only its size is tested");
        add_gradient(full, largest == 0 ? measured(mine, reference) : beside(mine, largest));
      } else {
        add_gradient(full, measured(mine, reference));
      }
    }
  }

  static double rms(const at::Tensor& x) {
    return x.to(at::kDouble).square().mean().sqrt().item<double>();
  }

  static Measured beside(const at::Tensor& mine, double largest) {
    const double ratio = rms(mine) / largest;
    return {ratio, std::isfinite(ratio) ? "" : "the mixer's values are not finite"};
  }

  double largest_gradient() const {
    double largest = 0;
    for (const auto& [name, parameter] : layer_.parameters()) {
      const auto found = golden_.tensors.find("d_" + name);
      if (found != golden_.tensors.end()) largest = std::max(largest, rms(found->second));
    }
    return largest;
  }

  const Golden& golden_;
  GoldenLayer& layer_;
  Allowed allowed_;
  bool splits_ = false;
  bool has_memory_ = false;
  bool continues_ = false;  // from a state
  at::Tensor prefix_;       // (B, T) bool; undefined: the mixer reads none
  State own_;               // after T tokens
  GoldenRatios result_;
};

}  // namespace

// The table of README.md.
Allowed allowed_ratios(const Golden& golden, at::ScalarType dtype) {
  const bool wide = dtype == at::kDouble;
  if (of_kind(golden, "gka")) return {2e-5, 2e-5, 5e-2};
  const Node* solver = golden.options.find("solver");
  if (of_kind(golden, "mesanet") && solver && solver->text == "conjugate_gradient")
    return {2e-3, 2e-3, 1e-2};
  if (wide) return {1e-6, 1e-6, 1e-6};
  if (golden.kind == "ska") return {1e-3, 1e-5, 1e-2};
  return {1e-5, 1e-5, 1e-4};
}

void GoldenRatios::add(const Ratio& ratio) {
  for (Ratio& other : ratios) {
    if (other.tensor != ratio.tensor || other.group != ratio.group) continue;
    if (!(ratio.ratio <= other.ratio)) other = ratio;
    return;
  }
  ratios.push_back(ratio);
}

GoldenRatios run_golden(const Golden& golden, GoldenLayer& layer) {
  return GoldenRun(golden, layer).run();
}

}  // namespace echo::testing
