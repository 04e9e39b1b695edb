#include "framework/src/import/export.h"

#include "tests/framework/import/checkpoint.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

class AnExport : public testing::TestWithParam<const char*> {};

TEST_P(AnExport, IsImportedAsTheSameModel) {
  const Checkpoint checkpoint(GetParam());
  const ImportedModel first = checkpoint.import();
  const auto folder = checkpoint.folder() / "exported";
  EXPECT_EQ(export_model(first.recipe, *first.model, folder, builtin_registry()), first.class_name);
  const ImportedModel second = import_model(folder, "imported", builtin_registry());
  EXPECT_EQ(resolved_yaml(second.recipe), resolved_yaml(first.recipe));
  const at::Tensor tokens = checkpoint.expected().tensors.at("b.input_ids");
  EXPECT_LT(largest_difference(logits_of(*second.model, tokens), logits_of(*first.model, tokens)),
            1e-5);
}

class AnExactExport : public testing::TestWithParam<const char*> {};

TEST_P(AnExactExport, HoldsTheTensorsThatTransformersWrote) {
  const Checkpoint checkpoint(GetParam());
  const ImportedModel imported = checkpoint.import();
  export_model(imported.recipe, *imported.model, checkpoint.folder() / "exported",
               builtin_registry());
  const auto written =
      read_safetensors(checkpoint.folder() / "exported" / "model.safetensors").tensors;
  ASSERT_EQ(written.size(), checkpoint.tensors.size());
  for (const auto& [name, tensor] : checkpoint.tensors) {
    ASSERT_EQ(written.count(name), 1) << name;
    EXPECT_LT(largest_difference(written.at(name), tensor), 1e-6) << name;
  }
}

const auto name_of = [](const auto& info) { return std::string(info.param); };

INSTANTIATE_TEST_SUITE_P(Of, AnExport,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "mamba2", "granite",
                                         "bamba", "qwen3next", "olmo_hybrid", "falcon_h1"),
                         name_of);

// But for Granite and Falcon-H1, some of whose multipliers have become parts of their weights, and
// OLMo hybrid, whose files cut a convolution in three.
INSTANTIATE_TEST_SUITE_P(Of, AnExactExport,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "mamba2", "bamba",
                                         "qwen3next"),
                         name_of);

// A model of a recipe's section `model`, exported.
struct Written {
  std::string name;     // of the class
  std::string message;  // of a refusal
};

Written write(const std::string& model) {
  const Checkpoint place("llama");
  const Recipe recipe = read_recipe_text(
      "name: mine\nmodel: " + model + "\ntask: {kind: tokens}\ntrain: {steps: 1}\n", "a.yaml", "/",
      {}, builtin_registry());
  Model made(recipe.model, builtin_registry(), at::TensorOptions().dtype(at::kFloat), at::kFloat);
  initialize(made, 1);
  const auto folder = place.folder() / "exported";
  Written written;
  try {
    written.name = export_model(recipe, made, folder, builtin_registry());
  } catch (const ConfigError& mistake) {
    written.message = mistake.what();
    EXPECT_FALSE(std::filesystem::exists(folder));
    return written;
  }
  const ImportedModel again = import_model(folder, "mine", builtin_registry());
  const at::Tensor tokens = at::arange(20);
  EXPECT_LT(largest_difference(logits_of(*again.model, tokens), logits_of(made, tokens)), 1e-5);
  return written;
}

const std::string kFeedForward = "ffn: {kind: swiglu, hidden: 24}";

TEST(AnExportOfARecipe, TakesTheClassThatItFits) {
  const auto with = [](const std::string& options) {
    return write("{width: 16, mixers: {a: {kind: attention, heads: 2" + options + "}, " +
                 kFeedForward + "}, blocks: [[a, ffn], [a, ffn]]}")
        .name;
  };
  EXPECT_EQ(with(""), "LlamaForCausalLM");
  EXPECT_EQ(with(", norm_eps: 1e-6, bias: true, output_bias: true"), "LlamaForCausalLM");
  EXPECT_EQ(with(", window: 4"), "MistralForCausalLM");
  EXPECT_EQ(with(", bias: true"), "Qwen2ForCausalLM");
  EXPECT_EQ(with(", qk_norm: true"), "Qwen3ForCausalLM");
}

TEST(AnExportOfARecipe, MayHaveItsBranchesInOtherBlocks) {
  EXPECT_EQ(write("{width: 16, mixers: {a: {kind: attention, heads: 2}, " + kFeedForward +
                  "}, blocks: [[a], [ffn, a], [ffn]]}")
                .name,
            "LlamaForCausalLM");
}

TEST(AnExportOfARecipe, MayMixWindows) {
  EXPECT_EQ(write("{width: 16, mixers: {a: {kind: attention, heads: 2, bias: true}, w: {kind: "
                  "attention, heads: 2, bias: true, window: 3}, " +
                  kFeedForward + "}, blocks: [[w, ffn], [a, ffn]]}")
                .name,
            "Qwen2ForCausalLM");
}

TEST(AnExportOfARecipe, NamesTheMixerThatNoClassHas) {
  EXPECT_THAT(write("{width: 16, mixers: {a: {kind: attention, heads: 2}, c: {kind: short_conv}, " +
                    kFeedForward + "}, blocks: [[a, ffn], [c, ffn]]}")
                  .message,
              HasSubstr("the recipe mine is none of the classes of transformers that Echo writes; "
                        "the nearest is LlamaForCausalLM, but blocks.1.0.mixer is a 'short_conv', "
                        "where LlamaForCausalLM has attention"));
}

TEST(AnExportOfARecipe, NamesTheFieldThatNoClassHas) {
  EXPECT_THAT(write("{width: 16, mixers: {a: {kind: attention, heads: 2}, " + kFeedForward +
                    "}, blocks: [[a, {mixer: ffn, norm: post}]]}")
                  .message,
              HasSubstr("blocks.0.1.norm is \"post\", and there it is \"pre\""));
  EXPECT_THAT(write("{width: 16, mixers: {a: {kind: attention, heads: 2}, " + kFeedForward +
                    "}, blocks: [[a, ffn]], positions: {kind: learned, length: 512}}")
                  .message,
              HasSubstr("model.positions.kind is \"learned\", and there it is \"none\""));
  EXPECT_THAT(write("{width: 16, mixers: {a: {kind: attention, heads: 2}, " + kFeedForward +
                    "}, blocks: [[a, ffn], [a]]}")
                  .message,
              HasSubstr("blocks.1.0.mixer is the last, and a layer of LlamaForCausalLM has 2"));
}

TEST(AnExportOfARecipe, LeavesAFolderThatIsThereAlone) {
  const Checkpoint checkpoint("llama");
  const ImportedModel imported = checkpoint.import();
  try {
    export_model(imported.recipe, *imported.model, checkpoint.folder(), builtin_registry());
    FAIL();
  } catch (const ConfigError& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("exists already; name a new folder"));
  }
}

}  // namespace
}  // namespace echo
