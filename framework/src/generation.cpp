#include "framework/src/generation.h"

#include "framework/src/decoder.h"

#include <echo/error.h>
#include <echo/random.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kStretch = 1024;             // tokens of the prompt that are read at once
constexpr int64_t kLargestCapacity = 1 << 16;  // longer memories grow when they are needed

void check(const Model& model, const std::vector<int64_t>& prompt,
           const GenerationOptions& options) {
  if (!model.reads_token_by_token()) {
    throw ConfigError(
        "this model reads its whole prefix at once, so it cannot generate; a model generates when "
        "all its mixers are causal");
  }
  if (prompt.empty()) throw ConfigError("the prompt is empty; give at least one token");
  check_tokens(model, prompt);
  if (options.max_tokens < 0) throw ConfigError("the number of new tokens must be at least 0");
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    throw ConfigError("the temperature must be at least 0");
  if (options.top_k < 0) throw ConfigError("top-k must be at least 0; 0 chooses among all tokens");
  const auto tokens = static_cast<int64_t>(prompt.size()) + options.max_tokens;
  if (model.longest() && tokens - 1 > *model.longest()) {
    throw ConfigError("the model has learned positions for " + std::to_string(*model.longest()) +
                      " tokens, but the prompt has " + std::to_string(prompt.size()) + " and " +
                      std::to_string(options.max_tokens) +
                      " new ones are asked for; ask for fewer, or shorten the prompt");
  }
}

int64_t choose(const at::Tensor& logits, const GenerationOptions& options, at::Generator& stream) {
  if (!at::isfinite(logits).all().item<bool>()) {
    throw Error(
        "the model's output is not finite, so no token can be chosen; its training may "
        "have gone wrong: look at the loss in its report, or take an earlier checkpoint");
  }
  if (options.temperature == 0) return logits.argmax().item<int64_t>();
  at::Tensor scores = logits.to(at::kDouble) / options.temperature;
  scores = scores - scores.max();  // a tiny temperature would overflow
  if (options.top_k > 0 && options.top_k < scores.numel()) {
    const auto [kept, places] = scores.topk(options.top_k);
    return places[at::multinomial(kept.softmax(0), 1, false, stream).item<int64_t>()]
        .item<int64_t>();
  }
  return at::multinomial(scores.softmax(0), 1, false, stream).item<int64_t>();
}

}  // namespace

void check_tokens(const Model& model, const std::vector<int64_t>& tokens) {
  for (const int64_t token : tokens) {
    if (token < 0 || token >= model.vocabulary()) {
      throw ConfigError("the token " + std::to_string(token) +
                        " is not in the vocabulary: tokens are 0 to " +
                        std::to_string(model.vocabulary() - 1));
    }
  }
}

std::vector<int64_t> generate(Model& model, const std::vector<int64_t>& prompt,
                              const GenerationOptions& options,
                              const std::function<bool(int64_t token)>& on_token) {
  check(model, prompt, options);
  const auto length = static_cast<int64_t>(prompt.size());
  Decoder decoder(model, length + std::min(options.max_tokens, kLargestCapacity),
                  recorder_for(model.device()));
  at::Generator stream = generator(options.seed, "generate");
  at::Tensor logits;
  for (int64_t begin = 0; begin < length && options.max_tokens > 0; begin += kStretch) {
    logits = decoder.read(prompt.data() + begin, std::min(kStretch, length - begin));
  }
  std::vector<int64_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < options.max_tokens) {
    tokens.push_back(choose(logits, options, stream));
    if (!on_token(tokens.back())) break;
    if (static_cast<int64_t>(tokens.size()) == options.max_tokens) break;
    logits = decoder.read(&tokens.back(), 1);
  }
  return tokens;
}

}  // namespace echo
