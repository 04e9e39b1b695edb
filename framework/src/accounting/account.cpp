#include "framework/src/accounting/account.h"

#include "framework/src/ranks/buckets.h"
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
    total.buckets += layer.buckets;
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
      frame_(frame_cost(recipe.model, registry, activations_, workload)),
      embedding_(layer("embedding", "embedding", {"embedding.", "positions."})),
      final_norm_(layer("final_norm",
                        recipe.model.norm.kind == NormKind::rms_norm ? "rms_norm" : "layer_norm",
                        {"final_norm."})),
      head_(layer("head", recipe.model.head.tied ? "tied" : "linear", {"head."})) {
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
        exchange_costs_.push_back(
            exchange_cost(branch, recipe_.model, registry, place, activations_));
      }
      const std::string& name = model_.branches()[branches_.size()]->name();
      branches_.push_back(layer(name, branch.mixer.kind, {name + "."}));
      branches_.back().branch_cost = found->second;
    }
  }
}

Account::Layer Account::layer(const std::string& name, const std::string& kind,
                              const std::vector<std::string>& prefixes) const {
  Layer layer{.account = {.name = name, .kind = kind}};
  std::set<const void*> counted;  // several parameters may be rows of one matrix
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    if (std::none_of(prefixes.begin(), prefixes.end(),
                     [&](const auto& prefix) { return parameter.name.starts_with(prefix); }))
      continue;
    layer.parameters.push_back(i);
    layer.account.parameters += value_bytes(parameter);
    layer.account.gradients += value_bytes(parameter);
    if (counted.insert(parameter.storage.unsafeGetTensorImpl()).second)
      layer.stored += static_cast<int64_t>(parameter.storage.nbytes());
  }
  return layer;
}

OwnedState Account::owned(const Workload& workload) const {
  return workload.shares_state ? largest_share(parameters_, optimizer_, workload.ranks)
                               : all_state(parameters_, optimizer_);
}

void Account::add_shares(LayerAccount& account, const Layer& layer, const Workload& workload,
                         const OwnedState& owned) const {
  for (const size_t i : layer.parameters) {
    const Parameter& parameter = parameters_[i];
    if (std::binary_search(owned.parameters.begin(), owned.parameters.end(), i))
      account.optimizer += optimizer_.state_bytes(parameter);
    if (workload.ranks > 1) {
      account.buckets +=
          bucket_elements(parameter) * static_cast<int64_t>(parameter.storage.element_size());
    }
  }
}

int64_t Account::hidden_bytes(int64_t batch, int64_t length) const {
  return batch * length * recipe_.model.width * bytes_of(activations_);
}

// The sizes of a step's largest part, and what its stretches of work hold.
struct Account::Step {
  Step(const Account& account, const Workload& workload) {
    const int64_t length = workload.length;
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
    for (const Layer& layer : account.branches_) {
      const size_t cost = layer.branch_cost;
      // All parts of what ranks exchange, for the backward pass, and once more on their way.
      const int64_t gathered =
          workload.sequence > 1
              ? workload.sequence * rows * account.exchange_costs_[cost].bytes(length)
              : 0;
      branches.push_back({forward[cost], backward[cost], forward[cost].last - hidden + gathered});
      branches.back().forward.peak += 2 * gathered;
      branches.back().backward.peak += 2 * gathered;
    }
  }

  int64_t rows = 0;
  int64_t hidden = 0;  // bytes of x
  bool accumulates = false;
  Extent embedding, final_norm, head, head_backward, embedding_backward;
  struct BranchStep {
    Extent forward, backward;
    int64_t kept = 0;  // for the backward pass, its output left to the next one
  };
  std::vector<BranchStep> branches;

 private:
  std::vector<Extent> forward, backward;  // by branch_cost
};

std::vector<LayerAccount> Account::layers(const Workload& workload, int64_t context) const {
  const Step step(*this, workload);
  const OwnedState shares = owned(workload);
  const ModelState state = model_.initial_state(1, context);
  const int64_t cache = 2 * context * recipe_.model.width * bytes_of(activations_);
  std::vector<LayerAccount> layers = {embedding_.account};
  add_shares(layers.front(), embedding_, workload, shares);
  layers.front().activations = step.embedding.last - step.hidden;
  for (size_t i = 0; i < branches_.size(); ++i) {
    LayerAccount layer = branches_[i].account;
    add_shares(layer, branches_[i], workload, shares);
    layer.activations = step.branches[i].kept;
    layer.state = state.branches[i].bytes();
    const Memory memory = model_.branches()[i]->mixer().traits().memory;
    layer.kv_cache = memory == Memory::growing    ? layer.state
                     : memory == Memory::constant ? cache
                                                  : 0;
    layers.push_back(std::move(layer));
  }
  layers.push_back(final_norm_.account);
  add_shares(layers.back(), final_norm_, workload, shares);
  layers.back().activations = step.final_norm.last - step.embedding.last;
  layers.push_back(head_.account);
  add_shares(layers.back(), head_, workload, shares);
  layers.back().activations = step.head.last - step.final_norm.last + step.hidden;
  return layers;
}

std::vector<ExchangeCost> Account::exchanges() const {
  std::vector<ExchangeCost> exchanges;
  for (const Layer& layer : branches_) exchanges.push_back(exchange_costs_[layer.branch_cost]);
  return exchanges;
}

int64_t Account::peak(int64_t batch, int64_t length) const {
  Workload workload = workload_;
  workload.batch = batch;
  workload.length = length;
  return peak(workload);
}

int64_t Account::peak(const Workload& workload) const {
  const Step step(*this, workload);
  const OwnedState shares = owned(workload);
  int64_t stored = embedding_.stored + final_norm_.stored + head_.stored;
  for (const Layer& layer : branches_) stored += layer.stored;
  int64_t always = stored + shares.state;
  if (workload.ranks > 1) {
    for (const Parameter& parameter : parameters_)
      always += bucket_elements(parameter) * static_cast<int64_t>(parameter.storage.element_size());
  }
  const int64_t most = passes(step) + (step.accumulates ? stored : 0);
  // Between ranks the buckets hold the gradients, and the model's own are gone before an update.
  const int64_t gradients = workload.ranks > 1 ? 0 : stored;
  const int64_t updated = workload.shares_state ? shares.values : stored;
  return always + std::max(most, gradients + optimizer_.passing_bytes(updated, shares.largest));
}

// The most that activations and their gradients hold, with the parameters' where they are made
// anew.
int64_t Account::passes(const Step& step) const {
  // Forward, bottom to top: what lower layers have kept, and the one that runs.
  int64_t most = step.embedding.peak;
  int64_t kept = 0;
  for (const Step::BranchStep& branch : step.branches) {
    most = std::max(most, step.embedding.last - step.hidden + kept + branch.forward.peak);
    kept += branch.kept;
  }
  for (const Extent& extent : {step.final_norm, step.head, step.head_backward})
    most = std::max(most, kept + extent.peak);

  // Backward, top to bottom: gradients of the higher layers, what lower ones have kept.
  int64_t gradients = 0;
  const int64_t above = step.head_backward.last - step.hidden;  // without the gradient of x
  for (size_t i = branches_.size(); i-- > 0;) {
    const Step::BranchStep& branch = step.branches[i];
    kept -= branch.kept;
    most = std::max(most, above + kept + gradients + branch.backward.peak);
    if (!step.accumulates) gradients += branches_[i].stored;
  }
  return std::max(most, gradients + step.embedding_backward.peak);
}

int64_t Account::largest_batch(int64_t bytes) const {
  // A batch is a multiple of the parts that it runs in.
  const auto fits = [&](int64_t rows) {
    return peak(rows * workload_.parts, workload_.length) <= bytes;
  };
  return largest(fits) * workload_.parts;
}

int64_t Account::largest_length(int64_t bytes) const {
  const int64_t longest = model_.longest().value_or(kMost) / workload_.sequence;
  return largest(
      [&](int64_t length) { return length <= longest && peak(workload_.batch, length) <= bytes; });
}

}  // namespace echo
