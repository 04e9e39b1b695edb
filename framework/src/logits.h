#pragma once

#include "framework/src/model/model.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace echo {

// Writes the logits of every next token as a safetensors file: `logits`, float32, (T, V); row t
// scores the token behind token t. chunk: tokens that are read at a time, through the model's
// state; none: all at once, without a state. The file appears whole or not at all; beside it the
// memory holds some rows of it. Throws ConfigError for tokens outside the vocabulary, none at all,
// too many for learned positions, and a model that cannot read token by token.
void write_logits(Model& model, const std::vector<int64_t>& tokens, std::optional<int64_t> chunk,
                  const std::filesystem::path& file);

}  // namespace echo
