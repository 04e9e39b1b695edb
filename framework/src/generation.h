#pragma once

#include "framework/src/model/model.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace echo {

struct GenerationOptions {
  int64_t max_tokens = 200;
  double temperature = 1;  // 0: always the most probable token
  int64_t top_k = 0;       // choose among this many most probable ones; 0: among all
  uint64_t seed = 0;
};

// Throws ConfigError for a token outside the vocabulary.
void check_tokens(const Model& model, const std::vector<int64_t>& tokens);

// Continues a prompt: reads it in stretches through the model's state, then one token at a time.
// Equal arguments give equal tokens. Calls on_token with each new one as soon as it is chosen,
// until there are max_tokens or on_token returns false; returns the new ones. Throws ConfigError
// for an empty prompt, a token outside the vocabulary, options out of range and a model that cannot
// read token by token; Error when the model's output is not finite.
std::vector<int64_t> generate(Model& model, const std::vector<int64_t>& prompt,
                              const GenerationOptions& options,
                              const std::function<bool(int64_t token)>& on_token);

}  // namespace echo
