#pragma once

#include "framework/src/recipe/recipe.h"
#include "framework/src/recipe/tree.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo::testing {

// A golden file: what a reference implementation computes for given weights and inputs, in
// safetensors. README.md of this folder describes the format.
struct Golden {
  enum class Level {
    layer,  // y = mixer(x)
    block,  // y = x + mixer(norm(x))
  };

  // One term of the loss whose gradients the file holds: sum(of * weight).
  struct LossTerm {
    std::string of;  // "y" or "state.<name>"
    std::string weight;
  };

  std::filesystem::path path;
  std::string kind;
  Level level = Level::layer;
  Node options;       // a map; the fields that it lacks have their defaults
  int64_t width = 0;  // D
  NormRecipe norm;    // of a block
  std::vector<LossTerm> loss;
  std::string tolerance;  // what the file was checked with; shown, never used
  std::map<std::string, at::Tensor> tensors;

  int64_t batch() const { return tensors.at("x").size(0); }
  int64_t length() const { return tensors.at("x").size(1); }
  int64_t next_length() const;  // tokens of x_next; 0: there is none
  bool has(const std::string& name) const { return tensors.count(name) > 0; }
  bool has_gradients() const;  // dx or d_<parameter>
};

// Throws ConfigError, naming the file, for what cannot be read, is no golden file, is a core file,
// or is not consistent in itself.
Golden read_golden(const std::filesystem::path& path);

// A mistake in a golden file, or between it and the mixer.
ConfigError mistake(const Golden& golden, const std::string& message);

// "(2, 40, 32)"
std::string shape_text(at::IntArrayRef shape);

}  // namespace echo::testing
