#pragma once

#include "framework/src/files/safetensors.h"
#include "framework/src/import/import.h"
#include "tests/support/builtins.h"

#include <echo/error.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace echo {

// A copy of a folder of tests/interop that a test may change.
class Checkpoint {
 public:
  using Json = nlohmann::ordered_json;

  explicit Checkpoint(const std::string& name) {
    std::string pattern = testing::TempDir() + "echo-import-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make " + pattern);
    folder_ = pattern;
    const std::filesystem::path source = std::filesystem::path(ECHO_SOURCE_DIR) / "tests/interop";
    std::filesystem::copy(source / name / "config.json", folder_);
    std::filesystem::copy(source / name / "model.safetensors", folder_);
    expected_ = source / name / "expected.safetensors";
    std::ifstream file(folder_ / "config.json");
    config = Json::parse(file);
    tensors = read_safetensors(folder_ / "model.safetensors").tensors;
  }
  ~Checkpoint() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  Json config;
  std::map<std::string, at::Tensor> tensors;

  const std::filesystem::path& folder() const { return folder_; }
  NamedTensors expected() const { return read_safetensors(expected_); }

  void write_config_text(const std::string& text) const {
    std::ofstream(folder_ / "config.json") << text;
  }
  void write() const {
    write_config_text(config.dump(2));
    write_safetensors(folder_ / "model.safetensors", {tensors, {{"format", "pt"}}});
  }
  ImportedModel import() const { return import_model(folder_, "imported", builtin_registry()); }

  // What an import of the changed folder says; empty: nothing.
  std::string refusal() const {
    write();
    return refusal_as_it_is();
  }
  std::string refusal_as_it_is() const {
    try {
      import();
    } catch (const ConfigError& mistake) {
      return mistake.what();
    }
    return "";
  }

 private:
  std::filesystem::path folder_, expected_;
};

// (T, V); chunk 0: all at once, without a state.
inline at::Tensor logits_of(Model& model, const at::Tensor& tokens, int64_t chunk = 0) {
  const c10::NoGradGuard no_gradients;
  const at::Tensor input = tokens.unsqueeze(0);
  if (chunk == 0) return model.logits(model.hidden(input, {})).squeeze(0);
  ModelState state = model.initial_state(1, tokens.numel());
  ModelSpan span;
  span.state = &state;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : input.split(chunk, 1))
    parts.push_back(model.logits(model.hidden(part, span)).squeeze(0));
  return at::cat(parts);
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace echo
