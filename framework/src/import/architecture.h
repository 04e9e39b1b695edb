#pragma once

#include "framework/src/import/blueprint.h"
#include "framework/src/import/config.h"

#include <optional>
#include <string>
#include <vector>

namespace echo {

// A class of transformers that Echo reads and writes. One file each; see README.md.
struct Architecture {
  const char* name;        // "LlamaForCausalLM"
  const char* model_type;  // "llama"
  // The kinds of mixers that each residual branch of a layer may have.
  std::vector<std::vector<std::string>> kinds;

  // Reads every field of a config.json; throws ConfigError for one that Echo cannot honour.
  Blueprint (*read)(Config& config);

  // A config.json for a model of such layers (see model_json()). It may describe the model wrongly
  // where that does not fit: `read` and a comparison decide. None: the class itself refuses it.
  std::optional<nlohmann::ordered_json> (*write)(const nlohmann::ordered_json& model);
};

// Those of every file, the one that should be written first.
const std::vector<Architecture>& architectures();

// The one that config.json names. Throws ConfigError.
const Architecture& find_architecture(Config& config);

// One per file.
std::vector<Architecture> llama_architectures();
std::vector<Architecture> mamba2_architectures();
std::vector<Architecture> qwen3_next_architectures();
std::vector<Architecture> mamba_hybrid_architectures();
std::vector<Architecture> olmo_hybrid_architectures();
std::vector<Architecture> falcon_h1_architectures();

}  // namespace echo
