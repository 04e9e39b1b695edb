#pragma once

#include "framework/src/accounting/cost.h"
#include "framework/src/accounting/workload.h"
#include "framework/src/model/model.h"

namespace echo {

// What one residual branch holds, at sizes (samples, tokens of each). All counts begin before the
// branch's input x is made.
struct BranchCost {
  Cost forward;  // ends with x, where something keeps it, what is saved, and the output
  Cost
      backward;  // begins with x and what is saved; ends with the gradients of x and the parameters
};

// Runs the branch forward and backward at small sizes and extrapolates from there.
BranchCost branch_cost(const BranchRecipe& recipe, const ModelRecipe& model,
                       const Registry& registry, Place place, at::ScalarType activations,
                       const Workload& workload);

// What a model without blocks holds, at sizes (tokens, scored ones, vocabulary). Each stretch of
// work begins with what the one before it left.
struct FrameCost {
  Cost embedding;           // ends with its output
  Cost final_norm;          // ends with what both have saved and the hidden states
  Cost head;                // to the loss
  Cost head_backward;       // to the gradient that reaches the blocks
  Cost embedding_backward;  // to the end
};
FrameCost frame_cost(const ModelRecipe& model, const Registry& registry, at::ScalarType activations,
                     const Workload& workload);

}  // namespace echo
