#include "framework/src/testing/golden_layer.h"

#include "framework/src/text/near.h"

#include <ATen/ATen.h>

namespace echo::testing {

namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

GoldenLayer::GoldenLayer(const Golden& golden, const MixerKind& kind, const Options& options,
                         at::ScalarType dtype)
    : golden_(golden), dtype_(dtype) {
  const at::TensorOptions parameters = at::TensorOptions().dtype(dtype);
  try {
    mixer_ = kind.make(options, Place{.width = golden.width, .options = parameters});
  } catch (const FieldError& error) {
    throw mistake(golden, "options." + error.field() + ": " + error.what());
  }
  for (const Parameter& parameter : mixer_->parameters()) add(parameter);
  if (golden.level == Golden::Level::block) {
    norm_ = std::make_unique<Norm>(golden.norm, golden.width, parameters);
    for (const Parameter& parameter : norm_->parameters("norm"))
      parameters_.emplace_back(parameter.name, parameter);
  }
  for (const auto& [name, parameter] : parameters_) load(name, parameter);
  find_unused(kind.name);
}

at::Tensor GoldenLayer::operator()(const at::Tensor& x, const Span& span) {
  return norm_ ? x + (*mixer_)((*norm_)(x), span) : (*mixer_)(x, span);
}

State GoldenLayer::initial_state() const {
  return mixer_->initial_state({.batch = golden_.batch(),
                                .capacity = golden_.length() + golden_.next_length(),
                                .dtype = dtype_});
}

// A block's own norm takes the names "norm.*"; "mixer.norm.*" would be the mixer's.
void GoldenLayer::add(const Parameter& parameter) {
  const std::string inner = "mixer." + parameter.name;
  parameters_.emplace_back(golden_.has(inner) ? inner : parameter.name, parameter);
}

void GoldenLayer::load(const std::string& name, const Parameter& parameter) const {
  at::Tensor value = parameter.value();
  const auto found = golden_.tensors.find(name);
  if (found == golden_.tensors.end()) {
    throw mistake(golden_, "the tensor '" + name + "' " + shape_text(value.sizes()) +
                               " is missing; with these options the mixer has that parameter");
  }
  if (found->second.sizes() != value.sizes()) {
    throw mistake(golden_, "the tensor '" + name + "' is " + shape_text(found->second.sizes()) +
                               ", and with these options the mixer's is " +
                               shape_text(value.sizes()));
  }
  value.copy_(found->second);
}

// A weight that the mixer lacks is a mistake; another tensor may be there for other readers.
void GoldenLayer::find_unused(const std::string& kind) {
  std::set<std::string> known = {"x", "y", "x_next", "y_next", "w", "h", "mask", "dx"};
  std::vector<std::string> names;
  for (const auto& [name, parameter] : parameters_) {
    known.insert({name, "d_" + name});
    names.push_back(name);
  }
  for (const Golden::LossTerm& term : golden_.loss) known.insert(term.weight);
  for (const auto& [name, tensor] : golden_.tensors) {
    if (known.count(name) > 0 || name.rfind("state.", 0) == 0) continue;
    if (golden_.has("d_" + name) || ends_with(name, ".weight") || ends_with(name, ".bias")) {
      const std::string parameter = name.rfind("d_", 0) == 0 ? name.substr(2) : name;
      throw mistake(golden_, "the tensor '" + parameter + "' is no parameter of " + kind +
                                 " with these options; its parameters: " + join(names));
    }
    unused_.insert(name);
  }
}

}  // namespace echo::testing
