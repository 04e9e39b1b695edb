#pragma once

#include "framework/src/accounting/exchange_cost.h"
#include "framework/src/accounting/owned_state.h"
#include "framework/src/accounting/passes.h"
#include "framework/src/accounting/workload.h"
#include "framework/src/recipe/recipe.h"

#include <echo/registry.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// Bytes of one layer: a residual branch with its norm, or one of the rest.
struct LayerAccount {
  std::string name;  // "blocks.0.1", "embedding", "final_norm", "head"
  std::string kind;  // of the mixer; of the rest: what it is
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t buckets = 0;  // in which gradients travel between ranks; one rank has none
  int64_t optimizer = 0;
  int64_t activations = 0;  // what the forward pass of one part leaves for the backward pass
  int64_t state = 0;        // of one sequence, to go on after `context` tokens
  int64_t kv_cache = 0;     // that attention of the same width would need in this place
};

LayerAccount sum(const std::vector<LayerAccount>& layers);

// What a model takes in training and in decoding, without ever holding more of it than a layer.
// Parameters and states are counted on the meta device. Activations are those of one instance of
// every distinct branch, run forward and backward at small sizes; a step is then put together in
// the order in which Learner runs it. Of several ranks it is the one that keeps the most state of
// the optimiser.
//
// Counted is what tensors of the trainer's thread hold, without the samples themselves. It costs
// some seconds for a model of width 768.
class Account {
 public:
  Account(const Recipe& recipe, const Registry& registry, const Workload& workload);

  const Workload& workload() const { return workload_; }
  // From bottom to top, for the workload; decoding after `context` tokens.
  std::vector<LayerAccount> layers(int64_t context) const { return layers(workload_, context); }
  std::vector<LayerAccount> layers(const Workload& workload, int64_t context) const;

  // The most bytes that a training step holds: parameters, gradients, the optimiser's state,
  // activations and what passes. Another workload than the own one differs in its sizes and in its
  // ranks only.
  int64_t peak() const { return peak(workload_); }
  int64_t peak(int64_t batch, int64_t length) const;
  int64_t peak(const Workload& workload) const;

  // By branch, from bottom to top.
  std::vector<ExchangeCost> exchanges() const;

  // The most samples of the workload's length, or tokens of the workload's batch, whose step takes
  // no more than `bytes`; 0: not even one.
  int64_t largest_batch(int64_t bytes) const;
  int64_t largest_length(int64_t bytes) const;

 private:
  struct Layer {
    LayerAccount account;            // without what depends on the workload
    std::vector<size_t> parameters;  // into parameters_
    int64_t stored = 0;              // bytes of its parameters with their padding
    size_t branch_cost = 0;          // into branch_costs_
  };
  struct Step;

  void add_branches(const Registry& registry);
  Layer layer(const std::string& name, const std::string& kind,
              const std::vector<std::string>& prefixes) const;
  OwnedState owned(const Workload& workload) const;
  int64_t passes(const Step& step) const;
  void add_shares(LayerAccount& account, const Layer& layer, const Workload& workload,
                  const OwnedState& owned) const;
  int64_t hidden_bytes(int64_t batch, int64_t length) const;

  Recipe recipe_;
  Workload workload_;
  at::ScalarType activations_;
  Model model_;  // on the meta device
  std::vector<Parameter> parameters_;
  OptimizerCost optimizer_;
  FrameCost frame_;
  std::vector<BranchCost> branch_costs_;
  std::vector<ExchangeCost> exchange_costs_;  // like branch_costs_
  std::vector<Layer> branches_;
  Layer embedding_, final_norm_, head_;
};

}  // namespace echo
