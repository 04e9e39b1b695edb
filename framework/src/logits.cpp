#include "framework/src/logits.h"

#include "framework/src/files/file.h"
#include "framework/src/files/safetensors.h"
#include "framework/src/generation.h"

#include <echo/error.h>

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kLogitsAtOnce = 1 << 24;  // numbers

void check(const Model& model, const std::vector<int64_t>& tokens) {
  if (!model.reads_token_by_token()) {
    throw ConfigError(
        "this model reads its whole prefix at once, so its tokens have no scores one by one; a "
        "model has them when all its mixers are causal");
  }
  if (tokens.empty()) throw ConfigError("there are no tokens; give at least one");
  check_tokens(model, tokens);
  const auto length = static_cast<int64_t>(tokens.size());
  if (model.longest() && length > *model.longest()) {
    throw ConfigError("the model has learned positions for " + std::to_string(*model.longest()) +
                      " tokens, and " + std::to_string(length) + " are given; give fewer");
  }
}

// Logits of (1, T, D), some rows at a time.
void append(SafetensorsWriter& writer, const Model& model, const at::Tensor& hidden) {
  const at::Tensor rows = hidden.squeeze(0);
  const int64_t step = std::max<int64_t>(1, kLogitsAtOnce / model.vocabulary());
  for (int64_t first = 0; first < rows.size(0); first += step) {
    const int64_t count = std::min(step, rows.size(0) - first);
    writer.append(model.logits(rows.narrow(0, first, count)).to(at::kFloat));
  }
}

void write(SafetensorsWriter& writer, Model& model, const std::vector<int64_t>& tokens,
           std::optional<int64_t> chunk) {
  const auto length = static_cast<int64_t>(tokens.size());
  const at::Tensor input =
      at::tensor(tokens, at::TensorOptions(at::kLong)).view({1, length}).to(model.device());
  if (!chunk) return append(writer, model, model.hidden(input, {}));
  ModelState state = model.initial_state(1, length);
  ModelSpan span;
  span.state = &state;
  for (int64_t first = 0; first < length; first += *chunk) {
    const int64_t count = std::min(*chunk, length - first);
    append(writer, model, model.hidden(input.narrow(1, first, count), span));
  }
}

}  // namespace

void write_logits(Model& model, const std::vector<int64_t>& tokens, std::optional<int64_t> chunk,
                  const fs::path& file) {
  check(model, tokens);
  const c10::NoGradGuard no_gradients;
  const fs::path temporary = file.string() + ".tmp";
  const TensorEntry logits{at::kFloat, {static_cast<int64_t>(tokens.size()), model.vocabulary()}};
  SafetensorsWriter writer(temporary, {{"logits", logits}});
  write(writer, model, tokens, chunk);
  writer.finish();
  publish_file(temporary, file);
}

}  // namespace echo
