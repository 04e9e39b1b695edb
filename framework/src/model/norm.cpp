#include "framework/src/model/norm.h"

#include <echo/ops.h>

#include <ATen/ATen.h>

namespace echo {

Norm::Norm(const NormRecipe& recipe, int64_t width, const at::TensorOptions& options)
    : Module(options),
      recipe_(recipe),
      weight_(parameter("weight", {width}, init::ones(), {.decay = false})) {
  if (recipe_.kind == NormKind::layer_norm)
    bias_ = parameter("bias", {width}, init::zeros(), {.decay = false});
}

at::Tensor Norm::operator()(const at::Tensor& x) const {
  if (recipe_.kind == NormKind::rms_norm) return rms_norm(x, weight_, recipe_.eps);
  const at::Tensor wide = x.to(weight_.scalar_type());
  return at::layer_norm(wide, weight_.sizes(), weight_, bias_, recipe_.eps).to(x.scalar_type());
}

}  // namespace echo
