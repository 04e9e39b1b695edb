#include "tests/framework/import/checkpoint.h"

#include <functional>

#include <gmock/gmock.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

// A change of a checkpoint and what its import then says.
struct Refusal {
  const char* name;  // of the test
  const char* folder;
  std::function<void(Checkpoint&)> change;
  const char* message;
};

std::function<void(Checkpoint&)> set(const char* field, const Checkpoint::Json& value) {
  return [field, value](Checkpoint& checkpoint) { checkpoint.config[field] = value; };
}

std::function<void(Checkpoint&)> drop(const char* field) {
  return [field](Checkpoint& checkpoint) { checkpoint.config.erase(field); };
}

class AnImport : public testing::TestWithParam<Refusal> {};

TEST_P(AnImport, IsRefusedByName) {
  Checkpoint checkpoint(GetParam().folder);
  GetParam().change(checkpoint);
  EXPECT_THAT(checkpoint.refusal(), HasSubstr(GetParam().message));
}

const std::vector<Refusal> kRefusals = {
    {"UnknownField", "llama", set("clip_qkv", 8),
     "config.json: clip_qkv: 8: Echo does not know this field of LlamaForCausalLM"},
    {"UnknownFieldThatIsNull", "llama", set("clip_qkv", nullptr), "clip_qkv: null: Echo does not"},
    {"UnknownClass", "llama", set("architectures", {"GPT2LMHeadModel"}),
     "architectures: [\"GPT2LMHeadModel\"]: Echo does not read this class; Echo reads Llama"},
    {"ClassWithoutItsAttention", "llama", set("architectures", {"KimiLinearForCausalLM"}),
     "kv_lora_rank: KimiLinearForCausalLM: its attention keeps a compressed cache"},
    {"ClassOfAnotherType", "llama", set("model_type", "mistral"),
     "model_type: \"mistral\": the class LlamaForCausalLM has the type 'llama'"},
    {"ScaledPositionsOfVersionFour", "llama",
     set("rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}),
     "config.json: rope_scaling: rope_type: \"llama3\": Echo does not scale rotary positions; "
     "allowed: \"default\""},
    {"ScaledPositionsOfVersionFive", "llama",
     set("rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e4}}),
     "config.json: rope_parameters: rope_type: \"linear\""},
    {"UnknownFieldOfPositions", "llama",
     set("rope_parameters", {{"rope_type", "default"}, {"mrope_section", {1, 2}}}),
     "rope_parameters: mrope_section: [1,2]: Echo does not know"},
    {"PartialPositions", "llama", set("partial_rotary_factor", 0.5),
     "partial_rotary_factor: 0.5: this class turns whole heads; allowed: 1"},
    {"OddRotaryPart", "qwen3next",
     set("rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.2}}),
     "partial_rotary_factor: rotary positions turn 3 of a head's 16 dimensions"},
    {"OtherActivation", "llama", set("hidden_act", "gelu"),
     "hidden_act: \"gelu\": Echo's layers use silu; allowed: \"silu\", \"swish\""},
    {"FeedForwardBiases", "llama", set("mlp_bias", true), "mlp_bias: true: Echo's feed-forward"},
    {"QuantizedWeights", "llama", set("quantization_config", {{"bits", 4}}),
     "quantization_config: {\"bits\":4}: Echo reads weights of 16, 32 and 64 bits; allowed: null"},
    {"MissingSize", "llama", drop("hidden_size"), "hidden_size: is missing"},
    {"SizeThatIsNoNumber", "llama", set("hidden_size", "32"),
     "hidden_size: \"32\": it takes a whole number from 1 to 16777216"},
    {"SizeOfZero", "llama", set("num_attention_heads", 0), "num_attention_heads: 0: it takes"},
    {"TooManyLayers", "llama", set("num_hidden_layers", 5000),
     "num_hidden_layers: 5000: a model has at most 4096 blocks"},
    {"HeadsThatDoNotFit", "llama", set("num_key_value_heads", 3),
     "num_key_value_heads: 3: it does not divide the 4 num_attention_heads"},
    {"EpsOfZero", "llama", set("rms_norm_eps", 0), "rms_norm_eps: 0: it takes a number above 0"},
    {"FlagThatIsNone", "llama", set("tie_word_embeddings", 1),
     "tie_word_embeddings: 1: it takes true or false"},
    {"MissingTensor", "llama",
     [](Checkpoint& checkpoint) { checkpoint.tensors.erase("model.norm.weight"); },
     "has no tensor 'model.norm.weight' ([32]), which LlamaForCausalLM"},
    {"TensorTooMany", "llama",
     [](Checkpoint& checkpoint) {
       checkpoint.tensors["model.extra"] = at::ones({2, 3});
     },
     "the tensor 'model.extra' ([2, 3]) has no place in LlamaForCausalLM"},
    {"TensorOfAnotherShape", "llama", set("intermediate_size", 80),
     "mlp.gate_proj.weight' has shape [72, 32], and config.json asks for [80, 32]"},
    {"TensorOfIntegers", "llama",
     [](Checkpoint& checkpoint) {
       checkpoint.tensors["model.norm.weight"] = at::ones({32}, at::kLong);
     },
     "the tensor 'model.norm.weight' holds Long"},
    {"TiedHeadThatIsAnother", "llama", set("tie_word_embeddings", true),
     "the tensor 'lm_head.weight' is not 'model.embed_tokens.weight', though"},
    {"LimitThatIsNone", "mamba2", set("time_step_limit", {1.0}),
     "time_step_limit: [1.0]: it takes two numbers"},
    {"HeadsThatAreNotTheInnerWidth", "mamba2", set("head_dim", 8),
     "head_dim: 8: num_heads (4) such heads are not expand * hidden_size (64)"},
    {"GroupsThatDoNotFit", "mamba2", set("n_groups", 3), "n_groups: 3: it does not divide"},
    {"Experts", "qwen3next", set("num_experts", 8),
     "num_experts: 8: the layer 0 has experts, and Echo has none; allowed: 0"},
    {"LayerTypesOfAnotherLength", "qwen3next", set("layer_types", {"full_attention"}),
     "it takes a list of num_hidden_layers (4) words"},
    {"UnknownLayerType", "qwen3next",
     set("layer_types", {"linear_attention", "conv", "conv", "full_attention"}),
     "'conv' is no layer that Echo has in this class; allowed: linear_attention, full_attention"},
    {"ANormBeforeItsGate", "falcon_h1",
     [](Checkpoint& checkpoint) {
       checkpoint.config["mamba_rms_norm"] = checkpoint.config["mamba_norm_before_gate"] = true;
     },
     "mamba_norm_before_gate: true: Echo's Mamba-2 has its gate before the norm; allowed: false"},
    {"ABiasOfOneProjectionAlone", "falcon_h1", set("projectors_bias", false),
     "projectors_bias: false: it must be what mamba_proj_bias is; allowed: true"},
    {"TooFewMultipliers", "falcon_h1", set("ssm_multipliers", {1.0, 2.0}),
     "ssm_multipliers: [1.0,2.0]: it takes 5 numbers above 0"},
    {"AnInnerWidthThatIsNotTheHeads", "falcon_h1", set("mamba_d_ssm", 56),
     "mamba_n_heads: 6: it does not divide mamba_d_ssm (56)"},
    {"ValueHeadsThatDoNotFit", "qwen3next", set("linear_num_value_heads", 3),
     "linear_num_value_heads: 3: it is no multiple of linear_num_key_heads (2)"},
};

INSTANTIATE_TEST_SUITE_P(With, AnImport, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

class AConfig : public testing::TestWithParam<const char*> {};

// A copy of the config with one field changed, read by an import that may refuse it, but not fail.
TEST_P(AConfig, IsReadOrRefusedWhateverItsFieldsHold) {
  const Checkpoint checkpoint(GetParam());
  const auto values = Checkpoint::Json::parse(
      R"([null, true, false, -1, 0, 1, 2, 3, 5, 16777216, 1e300, 0.5, -0.5, 99999999999999999999,
          "", "x", "auto", [], [1], [0.5, 2], [1, "a"], [null], {}, {"a": 1},
          {"__float__": "Infinity"}, {"__float__": "NaN"}, [{"__float__": "-Infinity"}, 1]])");
  for (const auto& [field, own] : checkpoint.config.items()) {
    for (const auto& value : values) {
      Checkpoint::Json config = checkpoint.config;
      config[field] = value;
      checkpoint.write_config_text(config.dump());
      EXPECT_NO_THROW(checkpoint.refusal_as_it_is()) << field << ": " << value.dump();
    }
    Checkpoint::Json config = checkpoint.config;
    config.erase(field);
    checkpoint.write_config_text(config.dump());
    EXPECT_NO_THROW(checkpoint.refusal_as_it_is()) << "no " << field;
  }
}

INSTANTIATE_TEST_SUITE_P(Of, AConfig,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "mamba2",
                                         "qwen3next", "granite", "bamba", "olmo_hybrid",
                                         "falcon_h1"),
                         [](const auto& info) { return std::string(info.param); });

TEST(AFolder, WithoutAConfigIsRefused) {
  Checkpoint checkpoint("llama");
  std::filesystem::remove(checkpoint.folder() / "config.json");
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr("config.json: No such file or directory"));
}

TEST(AFolder, WithoutWeightsIsRefused) {
  Checkpoint checkpoint("llama");
  std::filesystem::remove(checkpoint.folder() / "model.safetensors");
  EXPECT_THAT(checkpoint.refusal_as_it_is(),
              HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  std::ofstream(checkpoint.folder() / "pytorch_model.bin") << "x";
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr(", but pytorch_model.bin; save the model"));
}

TEST(AFolder, WithAConfigThatIsNoJsonIsRefused) {
  Checkpoint checkpoint("llama");
  checkpoint.write_config_text("{\"a\": ");
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr("config.json is no JSON object"));
}

TEST(AFolder, WithACutFileOfWeightsIsRefused) {
  Checkpoint checkpoint("llama");
  std::filesystem::resize_file(checkpoint.folder() / "model.safetensors", 5000);
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr("model.safetensors as safetensors: "));
}

TEST(AFolder, ThatIsAFileIsRefused) {
  Checkpoint checkpoint("llama");
  try {
    import_model(checkpoint.folder() / "config.json", "imported", builtin_registry());
    FAIL();
  } catch (const ConfigError& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("config.json is no folder; give the folder of"));
  }
}

}  // namespace
}  // namespace echo
