#include "framework/src/model/model.h"

#include <echo/stretch.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace echo {

namespace {

void record(Probe* probe, const std::string& name, const at::Tensor& value) {
  if (probe) probe->record(name, value);
}

}  // namespace

int64_t ModelState::bytes() const {
  int64_t sum = 0;
  for (const State& branch : branches) sum += branch.bytes();
  return sum;
}

int64_t ModelState::resident_bytes() const {
  int64_t sum = 0;
  for (const State& branch : branches) sum += branch.resident_bytes();
  return sum;
}

ModelState ModelState::clone() const {
  ModelState copy{tokens.clone(), {}};
  for (const State& branch : branches) copy.branches.push_back(branch.clone());
  return copy;
}

ModelState ModelState::detach() const {
  ModelState copy{tokens.detach(), {}};
  for (const State& branch : branches) copy.branches.push_back(branch.detach());
  return copy;
}

Model::Model(const ModelRecipe& recipe, const Registry& registry,
             const at::TensorOptions& parameters, at::ScalarType activations)
    : Module(parameters), recipe_(recipe), activations_(activations) {
  embedding_ = parameter("embedding.weight", {recipe.vocabulary, recipe.width}, init::normal(0.02),
                         {.decay = false});
  if (recipe.positions.kind == PositionsKind::learned) {
    positions_ = parameter("positions.weight", {recipe.positions.length.value(), recipe.width},
                           init::normal(0.02), {.decay = false});
  }
  const auto blocks = static_cast<int64_t>(recipe.blocks.size());
  for (int64_t block = 0; block < blocks; ++block) {
    const Place place{
        .width = recipe.width, .layer = block, .layers = blocks, .options = parameters};
    int64_t index = 0;
    for (const BranchRecipe& branch : recipe.blocks[static_cast<size_t>(block)]) {
      const std::string name = "blocks." + std::to_string(block) + "." + std::to_string(index++);
      branches_.push_back(
          &child(name, std::make_unique<Branch>(name, branch, recipe, registry, place)));
    }
  }
  final_norm_ = &child("final_norm", std::make_unique<Norm>(recipe.norm, recipe.width, parameters));
  if (recipe.head.tied) return;
  head_ = &child("", std::make_unique<Linear>(
                         recipe.width,
                         std::vector<LinearBlock>{{"head", recipe.vocabulary, init::normal(0.02)}},
                         parameters));
}

int64_t Model::parameter_count() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters()) count += parameter.numel();
  return count;
}

ModelState Model::initial_state(int64_t batch, int64_t capacity) const {
  const StateOptions options{batch, capacity, device(), activations_};
  ModelState state{State(batch, device()), {}};
  for (const Branch* branch : branches_)
    state.branches.push_back(branch->mixer().initial_state(options));
  return state;
}

bool Model::reads_token_by_token() const {
  return std::all_of(branches_.begin(), branches_.end(), [](const Branch* branch) {
    const Traits& traits = branch->mixer().traits();
    return traits.causal && !traits.needs_prefix;
  });
}

std::optional<int64_t> Model::longest() const {
  if (!positions_.defined()) return std::nullopt;
  return positions_.size(0);
}

at::Tensor Model::embed(const at::Tensor& tokens, const ModelSpan& span) const {
  at::Tensor x = at::embedding(embedding_, tokens);
  if (recipe_.embedding_scale != 1) x = x * recipe_.embedding_scale;
  if (positions_.defined()) {
    const int64_t before = span.state     ? span.state->tokens.longest()
                           : span.stretch ? span.stretch->longest()
                                          : 0;
    if (before + tokens.size(1) > positions_.size(0)) {
      throw Error("the model has learned positions for " + std::to_string(positions_.size(0)) +
                  " tokens, and " + std::to_string(before + tokens.size(1)) +
                  " are asked for; shorten the text or train with a larger " +
                  "model.positions.length");
    }
    const at::Tensor position = span.state     ? span.state->tokens.position()
                                : span.stretch ? span.stretch->position()
                                               : at::zeros({tokens.size(0)}, tokens.options());
    x = x + at::embedding(positions_, token_positions(position, span.starts, tokens.size(1)));
  }
  return dropped(x.to(activations_), recipe_.dropout, "embedding", span.dropout,
                 span.stretch ? span.stretch->tokens_before() : 0);
}

at::Tensor Model::hidden(const at::Tensor& tokens, const ModelSpan& span) {
  at::Tensor x = embed(tokens, span);
  record(span.probe, "embedding", x);
  for (size_t i = 0; i < branches_.size(); ++i) {
    const Span inner{.state = span.state ? &span.state->branches[i] : nullptr,
                     .starts = span.starts,
                     .lengths = span.lengths,
                     .offsets = span.offsets,
                     .prefix = span.prefix,
                     .stretch = span.stretch,
                     .probe = span.probe};
    x = (*branches_[i])(x, inner, span.dropout);
  }
  if (span.state)
    span.state->tokens.advance(tokens.size(1), span.starts, span.lengths, span.offsets);
  x = (*final_norm_)(x);
  record(span.probe, "final_norm", x);
  return x;
}

at::Tensor Model::logits(const at::Tensor& hidden) const {
  at::Tensor scores =
      head_ ? (*head_)(hidden) : at::linear(hidden, embedding_.to(hidden.scalar_type()));
  scores = scores.to(at::promote_types(scores.scalar_type(), at::kFloat));
  return recipe_.logit_scale == 1 ? scores : scores * recipe_.logit_scale;
}

}  // namespace echo
