#include "framework/src/accounting/account.h"

#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kMost = int64_t{1} << 40;  // samples or tokens that are looked at

at::ScalarType dtype_of(Precision precision) {
  return precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

int64_t bytes_of(at::ScalarType type) { return static_cast<int64_t>(at::elementSize(type)); }

// Branches of one key hold the same at the same size.
std::string key_of(const BranchRecipe& branch) {
  return to_json(write_kind(branch.mixer)).dump() + " " +
         std::to_string(static_cast<int>(branch.norm)) + " " + std::to_string(branch.scale);
}

int64_t largest(const std::function<bool(int64_t)>& fits) {
  int64_t most = 1;
  while (most < kMost && fits(most)) most *= 2;
  int64_t least = most / 2;  // fits, or is 0
  while (most - least > 1) {
    const int64_t middle = least + (most - least) / 2;
    (fits(middle) ? least : most) = middle;
  }
  return least;
}

}  // namespace

LayerAccount sum(const std::vector<LayerAccount>& layers) {
  LayerAccount total{.name = "total", .kind = ""};
  for (const LayerAccount& layer : layers) {
    total.parameters += layer.parameters;
    total.gradients += layer.gradients;
    total.optimizer += layer.optimizer;
    total.activations += layer.activations;
    total.state += layer.state;
    total.kv_cache += layer.kv_cache;
  }
  return total;
}

Account::Account(const Recipe& recipe, const Registry& registry, const Workload& workload)
    : recipe_(recipe),
      workload_(workload),
      activations_(dtype_of(recipe.train.precision)),
      model_(recipe.model, registry, at::TensorOptions().dtype(at::kFloat).device(at::kMeta),
             activations_),
      parameters_(model_.parameters()),
      optimizer_(optimizer_cost(recipe.train.optimizer, registry)),
      frame_(frame_cost(recipe.model, registry, activations_, workload)) {
  const auto named = [this](const char* prefix) {
    std::vector<Parameter> found;
    for (const Parameter& parameter : parameters_) {
      if (parameter.name.starts_with(prefix)) found.push_back(parameter);
    }
    return found;
  };
  embedding_.account = {.name = "embedding", .kind = "embedding"};
  add_parameters(embedding_, named("embedding."));
  add_parameters(embedding_, named("positions."));
  final_norm_.account = {
      .name = "final_norm",
      .kind = recipe.model.norm.kind == NormKind::rms_norm ? "rms_norm" : "layer_norm"};
  add_parameters(final_norm_, named("final_norm."));
  head_.account = {.name = "head", .kind = recipe.model.head.tied ? "tied" : "linear"};
  add_parameters(head_, named("head."));
  add_branches(registry);
}

void Account::add_branches(const Registry& registry) {
  std::map<std::string, size_t> known;
  const auto blocks = static_cast<int64_t>(recipe_.model.blocks.size());
  for (int64_t block = 0; block < blocks; ++block) {
    for (const BranchRecipe& branch : recipe_.model.blocks[static_cast<size_t>(block)]) {
      const auto [found, is_new] = known.emplace(key_of(branch), branch_costs_.size());
      if (is_new) {
        const Place place{.width = recipe_.model.width, .layer = block, .layers = blocks};
        branch_costs_.push_back(
            branch_cost(branch, recipe_.model, registry, place, activations_, workload_));
      }
      Layer layer{.account = {.name = model_.branches()[branches_.size()]->name(),
                              .kind = branch.mixer.kind},
                  .branch_cost = found->second};
      add_parameters(layer, model_.branches()[branches_.size()]->parameters());
      branches_.push_back(std::move(layer));
    }
  }
}

void Account::add_parameters(Layer& layer, const std::vector<Parameter>& parameters) const {
  std::set<const void*> counted;  // several parameters may be rows of one matrix
  for (const Parameter& parameter : parameters) {
    layer.account.parameters += value_bytes(parameter);
    layer.account.gradients += value_bytes(parameter);
    layer.account.optimizer += optimizer_.state_bytes(parameter);
    if (counted.insert(parameter.storage.unsafeGetTensorImpl()).second)
      layer.stored += static_cast<int64_t>(parameter.storage.nbytes());
  }
}

int64_t Account::hidden_bytes(int64_t batch, int64_t length) const {
  return batch * length * recipe_.model.width * bytes_of(activations_);
}

// The sizes of a step's largest part, and what its stretches of work hold.
struct Account::Step {
  Step(const Account& account, int64_t batch, int64_t length) {
    Workload workload = account.workload_;
    workload.batch = batch;
    rows = workload.rows();
    accumulates = workload.accumulates();
    hidden = account.hidden_bytes(rows, length);
    const auto scored = std::llround(workload.scored * static_cast<double>(rows * length));
    const Cost::Size size = {rows * length, scored, account.recipe_.model.vocabulary};
    embedding = account.frame_.embedding.at(size);
    final_norm = account.frame_.final_norm.at(size);
    head = account.frame_.head.at(size);
    head_backward = account.frame_.head_backward.at(size);
    embedding_backward = account.frame_.embedding_backward.at(size);
    for (const BranchCost& cost : account.branch_costs_) {
      forward.push_back(cost.forward.at({rows, length}));
      backward.push_back(cost.backward.at({rows, length}));
    }
  }
  // What the branch keeps, its output left to the next one.
  int64_t kept(const Layer& layer) const { return forward[layer.branch_cost].last - hidden; }

  int64_t rows = 0;
  int64_t hidden = 0;  // bytes of x
  bool accumulates = false;
  Extent embedding, final_norm, head, head_backward, embedding_backward;
  std::vector<Extent> forward, backward;  // by branch_cost
};

std::vector<LayerAccount> Account::layers(int64_t context) const {
  const Step step(*this, workload_.batch, workload_.length);
  const ModelState state = model_.initial_state(1, context);
  const int64_t cache = 2 * context * recipe_.model.width * bytes_of(activations_);
  std::vector<LayerAccount> layers = {embedding_.account};
  layers.front().activations = step.embedding.last - step.hidden;
  for (size_t i = 0; i < branches_.size(); ++i) {
    LayerAccount layer = branches_[i].account;
    layer.activations = step.kept(branches_[i]);
    layer.state = state.branches[i].bytes();
    const Memory memory = model_.branches()[i]->mixer().traits().memory;
    layer.kv_cache = memory == Memory::growing    ? layer.state
                     : memory == Memory::constant ? cache
                                                  : 0;
    layers.push_back(std::move(layer));
  }
  layers.push_back(final_norm_.account);
  layers.back().activations = step.final_norm.last - step.embedding.last;
  layers.push_back(head_.account);
  layers.back().activations = step.head.last - step.final_norm.last + step.hidden;
  return layers;
}

int64_t Account::peak(int64_t batch, int64_t length) const {
  const Step step(*this, batch, length);
  int64_t stored = 0, optimizer = 0, largest = 0;
  for (const Layer* layer : {&embedding_, &final_norm_, &head_}) {
    stored += layer->stored;
    optimizer += layer->account.optimizer;
  }
  for (const Layer& layer : branches_) {
    stored += layer.stored;
    optimizer += layer.account.optimizer;
  }
  for (const Parameter& parameter : parameters_)
    largest = std::max(largest, value_bytes(parameter));
  const int64_t always = stored + optimizer + (step.accumulates ? stored : 0);

  // Forward, bottom to top: what lower layers have kept, and the one that runs.
  int64_t most = step.embedding.peak;
  int64_t kept = 0;
  for (const Layer& layer : branches_) {
    most = std::max(
        most, step.embedding.last - step.hidden + kept + step.forward[layer.branch_cost].peak);
    kept += step.kept(layer);
  }
  for (const Extent& extent : {step.final_norm, step.head, step.head_backward})
    most = std::max(most, kept + extent.peak);

  // Backward, top to bottom: gradients of the higher layers, what lower ones have kept.
  int64_t gradients = 0;
  const int64_t above = step.head_backward.last - step.hidden;  // without the gradient of x
  for (auto layer = branches_.rbegin(); layer != branches_.rend(); ++layer) {
    kept -= step.kept(*layer);
    most = std::max(most, above + kept + gradients + step.backward[layer->branch_cost].peak);
    if (!step.accumulates) gradients += layer->stored;
  }
  most = std::max(most, gradients + step.embedding_backward.peak);

  const int64_t update = optimizer_.passing_bytes(stored, largest);
  return always + std::max(most, (step.accumulates ? 0 : stored) + update);
}

int64_t Account::largest_batch(int64_t bytes) const {
  // A batch is a multiple of the parts that it runs in.
  const auto fits = [&](int64_t rows) {
    return peak(rows * workload_.parts, workload_.length) <= bytes;
  };
  return largest(fits) * workload_.parts;
}

int64_t Account::largest_length(int64_t bytes) const {
  const int64_t longest = model_.longest().value_or(kMost);
  return largest(
      [&](int64_t length) { return length <= longest && peak(workload_.batch, length) <= bytes; });
}

}  // namespace echo
