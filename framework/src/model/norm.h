#pragma once

#include "framework/src/recipe/recipe.h"

#include <echo/module.h>

namespace echo {

// RMS or layer normalisation over the last axis, computed in float32 (float64 for float64
// parameters).
class Norm final : public Module {
 public:
  Norm(const NormRecipe& recipe, int64_t width, const at::TensorOptions& options);
  at::Tensor operator()(const at::Tensor& x) const;  // keeps the dtype of x

 private:
  NormRecipe recipe_;
  at::Tensor weight_;
  at::Tensor bias_;  // layer_norm only
};

}  // namespace echo
