#include "framework/src/testing/golden_run.h"

#include <echo/testing.h>

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

// Runs one file in one dtype.
class GoldenRun {
 public:
  GoldenRun(const Golden& golden, GoldenLayer& layer)
      : golden_(golden), layer_(layer), allowed_(allowed_ratios(golden, layer.dtype())) {
    const Traits& traits = layer.mixer().traits();
    splits_ = traits.causal && !traits.needs_prefix;
    has_memory_ = !layer.initial_state().entries().empty();
  }

  GoldenRatios run() {
    {
      c10::NoGradGuard no_grad;
      compare_outputs();
      compare_core();
    }
    if (golden_.has_gradients()) compare_gradients();
    return std::move(result_);
  }

 private:
  void add(const std::string& tensor, const std::string& group, const std::string& way,
           double ratio, double allowed) {
    result_.add({tensor, group, way, ratio, allowed});
  }

  at::Tensor feed(const at::Tensor& x, const std::vector<int64_t>& cuts, State* state) {
    std::vector<at::Tensor> outputs;
    std::vector<int64_t> bounds = cuts;
    bounds.push_back(x.size(1));
    int64_t first = 0;
    for (const int64_t bound : bounds) {
      Span span{.state = state};
      if (layer_.mixer().traits().needs_prefix && golden_.has("mask"))
        span.prefix = golden_.tensors.at("mask").to(at::kBool).narrow(1, first, bound - first);
      outputs.push_back(layer_(x.narrow(1, first, bound - first), span));
      first = bound;
    }
    return at::cat(outputs, 1);
  }

  void compare_outputs() {
    const at::Tensor x = layer_.tensor("x");
    const at::Tensor y = layer_.tensor("y");
    add("y", "whole", "without a state", rms_ratio(feed(x, {}, nullptr), y), allowed_.output);
    for (const Way& way : ways_of(golden_.length(), splits_)) {
      State state = layer_.initial_state();
      add("y", way.group, way.name, rms_ratio(feed(x, way.cuts, &state), y), allowed_.output);
      compare_states(state, way.name);
      if (splits_) compare_next(std::move(state), "own state", way.name);
    }
    if (splits_ && has_memory_ && golden_.next_length() > 0)
      compare_next(loaded_state(), "file's state", "file's state");
  }

  // Of a ring, the tokens that it still holds; angles by their cosine and sine.
  static double state_ratio(const std::string& name, const StateEntry& entry,
                            const at::Tensor& mine, at::Tensor reference) {
    if (entry.ring >= 0 && reference.dim() > entry.ring) {
      const int64_t count = std::min(mine.size(entry.ring), reference.size(entry.ring));
      reference = reference.narrow(entry.ring, reference.size(entry.ring) - count, count);
    }
    if (name != "angle") return rms_ratio(mine, reference);
    return rms_ratio(at::cat({mine.cos(), mine.sin()}, -1),
                     at::cat({reference.cos(), reference.sin()}, -1));
  }

  void compare_states(const State& state, const std::string& way) {
    for (const auto& [full, reference] : golden_.tensors) {
      if (full.rfind(kState, 0) != 0) continue;
      const std::string name = full.substr(6);
      if (!state.has(name)) {
        result_.notes.insert(full + ": the mixer's state has no such tensor with these options");
        continue;
      }
      const StateEntry& entry = state.entries().at(name);
      const at::Tensor mine = state.ordered(name);
      expect_state_shape(full, entry, mine, reference);
      add(full, "all ways", way, state_ratio(name, entry, mine, layer_.tensor(full)),
          allowed_.state);
    }
  }

  void expect_state_shape(const std::string& full, const StateEntry& entry, const at::Tensor& mine,
                          const at::Tensor& reference) const {
    std::vector<int64_t> expected = mine.sizes().vec();
    if (entry.ring >= 0 && entry.ring < reference.dim())
      expected[static_cast<size_t>(entry.ring)] = reference.size(entry.ring);
    if (reference.sizes().vec() == expected) return;
    throw mistake(golden_, "the tensor '" + full + "' is " + shape_text(reference.sizes()) +
                               ", and with these options the mixer's is " + shape_text(expected));
  }

  // The state after T tokens as the file has it; what the file lacks is the mixer's own.
  State loaded_state() {
    State own = layer_.initial_state();
    feed(layer_.tensor("x"), {}, &own);
    for (const auto& [name, entry] : std::map(own.entries())) {
      if (entry.role == StateRole::derived) {
        own.remove(name);
        continue;
      }
      const std::string full = kState + name;
      if (!golden_.has(full)) continue;
      at::Tensor value = golden_.tensors.at(full);
      if (entry.ring >= 0) {
        const int64_t held = own.ordered(name).size(entry.ring);
        value = value.narrow(entry.ring, value.size(entry.ring) - held, held);
      }
      own.load_ordered(name, value);
    }
    return own;
  }

  void compare_next(State state, const std::string& group, const std::string& from) {
    if (golden_.next_length() == 0) return;
    const at::Tensor x = layer_.tensor("x_next");
    const at::Tensor y = layer_.tensor("y_next");
    State copy = state.clone();
    const std::string before = from == group ? "" : from + ", then ";
    add("y_next", group, before + "together", rms_ratio(feed(x, {}, &copy), y), allowed_.output);
    std::vector<int64_t> cuts;
    for (int64_t t = 1; t < x.size(1); ++t) cuts.push_back(t);
    add("y_next", group, before + "single tokens", rms_ratio(feed(x, cuts, &state), y),
        allowed_.output);
  }

  // Files of blocks may hold the normalised input: then the mixer is compared without the norm.
  void compare_core() {
    if (golden_.level != Golden::Level::block || !golden_.has("h")) return;
    const at::Tensor core = layer_.mixer()(layer_.tensor("h"), {});
    add("y - x", "from h", "from h", rms_ratio(core, layer_.tensor("y") - layer_.tensor("x")),
        allowed_.output);
  }

  at::Tensor loss(const at::Tensor& y, const State& state) const {
    at::Tensor sum = at::zeros({}, y.options());
    for (const Golden::LossTerm& term : golden_.loss) {
      at::Tensor w = layer_.tensor(term.weight);
      at::Tensor value = y;
      if (term.of != "y") {
        const std::string name = term.of.substr(6);
        if (!state.has(name)) continue;
        value = state.ordered(name);
        const int64_t ring = state.entries().at(name).ring;
        if (ring >= 0) w = w.narrow(ring, w.size(ring) - value.size(ring), value.size(ring));
      }
      if (w.sizes() != value.sizes()) {
        throw mistake(golden_, "the tensor '" + term.weight + "' is " + shape_text(w.sizes()) +
                                   ", and '" + term.of + "' is " + shape_text(value.sizes()));
      }
      sum = sum + (value * w).sum();
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
      const at::Tensor y = feed(x, way.cuts, &state);
      loss(y, state).backward();
      compare_gradients_of(way, x.grad());
    }
  }

  void compare_gradients_of(const Way& way, const at::Tensor& dx) {
    const auto add_gradient = [&](const std::string& name, double ratio) {
      add(name, "all ways", way.name, ratio, allowed_.gradient);
    };
    if (golden_.has("dx")) add_gradient("dx", rms_ratio(dx, layer_.tensor("dx")));
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
        add_gradient(full, largest == 0 ? rms_ratio(mine, reference) : rms(mine) / largest);
      } else {
        add_gradient(full, rms_ratio(mine, reference));
      }
    }
  }

  static double rms(const at::Tensor& x) {
    return x.to(at::kDouble).square().mean().sqrt().item<double>();
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
