#include "framework/src/generation.h"
#include "tests/framework/import/checkpoint.h"

namespace echo {
namespace {

constexpr double kTolerance = 1e-3;

class ImportedCheckpoint : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    imported = checkpoint.import();
    expected = checkpoint.expected().tensors;
  }

  void expect_logits(int64_t chunk) {
    for (const std::string prompt : {"a", "b"}) {
      const at::Tensor logits =
          logits_of(*imported.model, expected.at(prompt + ".input_ids"), chunk);
      EXPECT_LT(largest_difference(logits, expected.at(prompt + ".logits")), kTolerance) << prompt;
    }
  }

  Checkpoint checkpoint{GetParam()};
  ImportedModel imported;
  std::map<std::string, at::Tensor> expected;
};

TEST_P(ImportedCheckpoint, HasTheLogitsOfTransformersOnWholeSequences) { expect_logits(0); }

TEST_P(ImportedCheckpoint, HasThemThroughItsStateInChunksOfSeven) { expect_logits(7); }

TEST_P(ImportedCheckpoint, HasThemTokenByToken) { expect_logits(1); }

TEST_P(ImportedCheckpoint, ChoosesTheSameTokens) {
  for (const std::string prompt : {"a", "b"}) {
    const at::Tensor ids = expected.at(prompt + ".input_ids");
    const at::Tensor greedy = expected.at(prompt + ".greedy16");
    GenerationOptions options;
    options.max_tokens = greedy.numel();
    options.temperature = 0;
    const int64_t* first = ids.const_data_ptr<int64_t>();
    const std::vector<int64_t> chosen = generate(*imported.model, {first, first + ids.numel()},
                                                 options, [](int64_t) { return true; });
    EXPECT_TRUE(at::equal(at::tensor(chosen), greedy)) << prompt << ": " << at::tensor(chosen);
  }
}

TEST_P(ImportedCheckpoint, HasAnOrdinaryRecipe) {
  const std::string text = resolved_yaml(imported.recipe);
  const Recipe again = read_recipe_text(text, "recipe.yaml", "/", {}, builtin_registry());
  EXPECT_EQ(resolved_yaml(again), text);
}

INSTANTIATE_TEST_SUITE_P(Of, ImportedCheckpoint,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "mamba2", "granite",
                                         "bamba", "qwen3next", "olmo_hybrid", "falcon_h1"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace echo
