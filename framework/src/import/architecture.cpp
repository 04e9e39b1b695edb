#include "framework/src/import/architecture.h"

#include "framework/src/text/near.h"

#include <echo/error.h>

namespace echo {

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = [] {
    std::vector<Architecture> list;
    for (const auto& family :
         {llama_architectures(), mamba2_architectures(), qwen3_next_architectures(),
          mamba_hybrid_architectures(), olmo_hybrid_architectures(), falcon_h1_architectures()})
      list.insert(list.end(), family.begin(), family.end());
    return list;
  }();
  return all;
}

namespace {

std::string known_classes() {
  std::vector<std::string> names;
  for (const Architecture& architecture : architectures()) names.emplace_back(architecture.name);
  return "Echo reads " + join(names);
}

// Classes of which Echo lacks a part whatever their config.json says.
struct Refused {
  const char* name;
  const char* field;
  const char* reason;
};

constexpr Refused kRefused[] = {
    {"KimiLinearForCausalLM", "kv_lora_rank",
     "its attention keeps a compressed cache (multi-head latent attention), and Echo has no such "
     "mixer"},
};

}  // namespace

const Architecture& find_architecture(Config& config) {
  const Config::Json* names = config.find("architectures");
  const std::string type = config.word("model_type", "");
  if (names && (!names->is_array() || names->size() != 1 || !names->front().is_string()))
    config.refuse("architectures", "it takes a list of one class; " + known_classes());
  for (const Architecture& architecture : architectures()) {
    const bool named =
        names ? names->front() == architecture.name : type == architecture.model_type;
    if (!named) continue;
    if (type.empty() || type == architecture.model_type) return architecture;
    config.refuse("model_type", "the class " + std::string(architecture.name) + " has the type '" +
                                    architecture.model_type + "'");
  }
  for (const Refused& refused : kRefused) {
    if (names && names->front() == refused.name)
      config.refuse(refused.field, std::string(refused.name) + ": " + refused.reason);
  }
  if (!names && type.empty()) {
    throw ConfigError(config.file() + ": architectures: is missing, and so is model_type; " +
                      known_classes());
  }
  config.refuse(names ? "architectures" : "model_type",
                "Echo does not read this class; " + known_classes());
}

}  // namespace echo
