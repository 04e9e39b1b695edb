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
  if (golden.level == Golden::Level::block)
    norm_ = std::make_unique<Norm>(golden.norm, golden.width, parameters);
  for (const Parameter& parameter : mixer_->parameters())
    add(name_in_file(parameter), parameter, "with these options the mixer");
  if (norm_) {
    for (const Parameter& parameter : norm_->parameters("norm"))
      add(parameter.name, parameter, "the block's norm");
  }
  find_unused(kind.name);
  if (mixer_->traits().needs_prefix && !golden.has("mask")) {
    throw mistake(golden,
                  "the tensor 'mask', (B, T) = " + shape_text({golden.batch(), golden.length()}) +
                      ", is missing; with these options the mixer reads a prefix, whose "
                      "tokens it marks with 1");
  }
}

at::Tensor GoldenLayer::operator()(const at::Tensor& x, const Span& span) {
  return norm_ ? x + (*mixer_)((*norm_)(x), span) : (*mixer_)(x, span);
}

State GoldenLayer::initial_state() const {
  return mixer_->initial_state({.batch = golden_.batch(),
                                .capacity = golden_.length() + golden_.next_length(),
                                .dtype = dtype_});
}

// A block's own norm takes the names "norm.*"; "mixer.norm.*" are the mixer's.
std::string GoldenLayer::name_in_file(const Parameter& parameter) const {
  const std::string inner = "mixer." + parameter.name;
  if (golden_.has(inner)) return inner;
  if (!norm_) return parameter.name;
  for (const Parameter& other : norm_->parameters("norm")) {
    if (other.name != parameter.name) continue;
    throw mistake(golden_, "the tensor '" + parameter.name +
                               "' is ambiguous, as the block's norm and the mixer both have a "
                               "parameter of that name; name the mixer's '" +
                               inner + "', and its gradient 'd_" + inner + "'");
  }
  return parameter.name;
}

void GoldenLayer::add(const std::string& name, const Parameter& parameter,
                      const std::string& owner) {
  at::Tensor value = parameter.value();
  const auto found = golden_.tensors.find(name);
  if (found == golden_.tensors.end()) {
    throw mistake(golden_, "the tensor '" + name + "' " + shape_text(value.sizes()) +
                               " is missing; " + owner + " has that parameter");
  }
  if (found->second.sizes() != value.sizes()) {
    throw mistake(golden_, "the tensor '" + name + "' is " + shape_text(found->second.sizes()) +
                               ", and " + owner + "'s is " + shape_text(value.sizes()));
  }
  value.copy_(found->second);
  parameters_.emplace_back(name, parameter);
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
