#include "framework/src/testing/golden_fit.h"

#include "framework/src/text/near.h"

#include <ATen/ATen.h>

namespace echo::testing {

namespace {

constexpr const char* kState = "state.";

bool any_nonzero(const at::Tensor& tensor) { return tensor.ne(0).any().item<bool>(); }

// Throws unless a tensor of the file is as the mixer's state, or holds all T tokens of its ring.
// owner: "with these options the mixer's".
void expect_shape(const Golden& golden, const std::string& tensor, const std::string& owner,
                  const State& state, const std::string& name) {
  const at::IntArrayRef sizes = golden.tensors.at(tensor).sizes();
  const std::vector<int64_t> kept = state.ordered(name).sizes().vec();
  std::vector<int64_t> all = kept;
  const int64_t ring = state.entries().at(name).ring;
  if (ring >= 0) all[static_cast<size_t>(ring)] = golden.length();
  if (sizes == kept || sizes == all) return;
  std::string message = "the tensor '" + tensor + "' is " + shape_text(sizes) + ", and " + owner +
                        " is " + shape_text(kept);
  if (all != kept) message += ", its last tokens, or " + shape_text(all) + ", all of them";
  throw mistake(golden, message);
}

std::vector<std::string> names_of(const State& state) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : state.entries()) names.push_back(kState + name);
  return names;
}

// Of a tensor that the state lacks nothing is known, so only weights of zero will do.
void expect_no_weight(const Golden& golden, const Golden::LossTerm& term, const State& state) {
  if (!any_nonzero(golden.tensors.at(term.weight))) return;
  const std::vector<std::string> names = names_of(state);
  throw mistake(golden, "the loss has a term of '" + term.of +
                            "', and the mixer's state has no such tensor with these options (" +
                            (names.empty() ? "it has none" : "it has " + join(names)) +
                            "); that is allowed only where all weights are zero, and those of '" +
                            term.weight + "' are not");
}

}  // namespace

void check_states(const Golden& golden, const State& state) {
  for (const std::string& full : names_of(state)) {
    if (golden.has(full))
      expect_shape(golden, full, "with these options the mixer's", state, full.substr(6));
  }
}

at::Tensor loss_weights(const Golden& golden, const Golden::LossTerm& term, const State& state) {
  const at::Tensor& weights = golden.tensors.at(term.weight);
  if (term.of == "y") {
    const at::IntArrayRef shape = golden.tensors.at("y").sizes();
    if (weights.sizes() == shape) return weights;
    throw mistake(golden, "the tensor '" + term.weight + "' is " + shape_text(weights.sizes()) +
                              ", and 'y' is " + shape_text(shape));
  }
  const std::string name = term.of.substr(6);
  if (!state.has(name)) {
    expect_no_weight(golden, term, state);
    return {};
  }
  expect_shape(golden, term.weight, "'" + term.of + "'", state, name);
  const int64_t ring = state.entries().at(name).ring;
  if (ring < 0) return weights;
  const int64_t kept = state.ordered(name).size(ring);
  const int64_t gone = weights.size(ring) - kept;
  if (any_nonzero(weights.narrow(ring, 0, gone))) {
    throw mistake(golden, "the loss weighs '" + term.of + "' of all " +
                              std::to_string(golden.length()) + " tokens, and the mixer keeps " +
                              std::to_string(kept) + "; make the first " + std::to_string(gone) +
                              " of '" + term.weight +
                              "' zero, and the gradients those of that loss");
  }
  return weights.narrow(ring, gone, kept);
}

}  // namespace echo::testing
