#pragma once

#include "framework/src/recipe/recipe.h"

#include <echo/optimizer.h>
#include <echo/span.h>

#include <functional>
#include <span>
#include <string>

namespace echo {

// "blocks.1.0.mixer.A_log" -> "blocks.1.0.mixer.A_log (ska)"; other names stay as they are.
std::string with_kind(const ModelRecipe& recipe, const std::string& name);

// Finds what first went wrong in a step whose loss or gradient is not finite, and says it in one
// sentence: a parameter, else the first tensor of a repeated forward pass, else the gradient that
// is nearest to the loss. `forward` runs the forward pass of the step with a probe. Slow; for the
// message of a failure.
std::string first_not_finite(const ModelRecipe& recipe, std::span<const Slot> slots,
                             const std::function<void(Probe&)>& forward);

// Whether such a sentence names a tensor: on another rank it may all be finite.
bool says_which_tensor(const std::string& sentence);

}  // namespace echo
