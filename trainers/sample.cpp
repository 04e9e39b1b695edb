#include "trainers/sample.h"

#include "framework/src/files/file.h"
#include "framework/src/generation.h"
#include "trainers/text_stream.h"

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

namespace echo {

namespace {

constexpr int64_t kTokens = 300;
const char* const kPrompt = "\n";  // what `generate` begins with, too

}  // namespace

void write_sample(const RunFolder& folder, Model& model, const Task& task) {
  if (!task.info().text || !model.reads_token_by_token()) return;
  const std::vector<int64_t> prompt = task.encode(kPrompt);
  const auto length = static_cast<int64_t>(prompt.size());
  GenerationOptions options;
  options.temperature = 0.8;
  options.max_tokens = std::min(kTokens, model.longest().value_or(kTokens + length) - length);
  if (options.max_tokens < 1) return;
  TextStream stream(task);
  std::string text;
  generate(model, prompt, options, [&](int64_t token) {
    text += stream.push(token);
    return true;
  });
  text = harmless(text + stream.finish());
  const nlohmann::ordered_json content = {
      {"text", text},
      {"note", std::to_string(options.max_tokens) + " tokens after a new line, temperature 0.8"}};
  replace_file(folder.sample(), content.dump(2) + "\n");
}

std::optional<TextSample> read_sample(const RunFolder& folder) {
  std::ifstream file(folder.sample());
  const nlohmann::json content = nlohmann::json::parse(file, nullptr, false);
  if (!content.is_object()) return std::nullopt;
  return TextSample{content.value("text", ""), content.value("note", "")};
}

}  // namespace echo
