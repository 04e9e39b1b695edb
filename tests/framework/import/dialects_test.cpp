#include "tests/framework/import/checkpoint.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

// The model of a folder after `change`, and the one before.
struct Pair {
  ImportedModel before, after;
};

template <class Change>
Pair changed(const char* name, Change change) {
  Checkpoint checkpoint(name);
  ImportedModel before = checkpoint.import();
  change(checkpoint);
  checkpoint.write();
  return {std::move(before), checkpoint.import()};
}

void expect_equal(const Pair& pair) {
  EXPECT_EQ(resolved_yaml(pair.before.recipe), resolved_yaml(pair.after.recipe));
  const Parameters before = parameters_of(*pair.before.model);
  const Parameters after = parameters_of(*pair.after.model);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before) EXPECT_TRUE(at::equal(value, after.at(name))) << name;
}

TEST(ConfigOfVersionFour, GivesTheSameLlama) {
  expect_equal(changed("llama", [](Checkpoint& checkpoint) {
    auto& config = checkpoint.config;
    config.erase("rope_parameters");
    config.erase("dtype");
    config["rope_theta"] = 10000.0;
    config["rope_scaling"] = nullptr;
    config["torch_dtype"] = "float32";
  }));
}

TEST(ConfigOfVersionFour, GivesTheSameMamba2WithABareInfinity) {
  Checkpoint checkpoint("mamba2");
  const ImportedModel before = checkpoint.import();
  auto config = checkpoint.config;
  config["time_step_limit"] = "HERE";
  std::string text = config.dump(2);
  text.replace(text.find("\"HERE\""), 6, "[0.0, Infinity]");
  checkpoint.write_config_text(text);
  EXPECT_EQ(resolved_yaml(checkpoint.import().recipe), resolved_yaml(before.recipe));
}

TEST(ConfigOfVersionFour, GivesTheSameQwen3Next) {
  expect_equal(changed("qwen3next", [](Checkpoint& checkpoint) {
    auto& config = checkpoint.config;
    config.erase("rope_parameters");
    config.erase("layer_types");
    config["rope_theta"] = 10000;
    config["partial_rotary_factor"] = 0.25;
    config["full_attention_interval"] = 4;
  }));
}

TEST(OlmoHybrid, HasNoPositionsWhereItsThetaIsNull) {
  const Pair pair = changed("olmo_hybrid", [](Checkpoint& checkpoint) {
    checkpoint.config["rope_parameters"]["rope_theta"] = nullptr;
  });
  EXPECT_THAT(resolved_yaml(pair.before.recipe), HasSubstr("rope_theta: 10000"));
  EXPECT_THAT(resolved_yaml(pair.after.recipe), HasSubstr("rope_theta: null"));
}

TEST(ConfigOfVersionFour, KeepsTheWordInfinityInTexts) {
  Checkpoint checkpoint("llama");
  checkpoint.config["_name_or_path"] = "to \"Infinity\" and NaN";
  checkpoint.write();
  EXPECT_NO_THROW(checkpoint.import());
}

TEST(Llama, TakesTheThetaOfItsRotaryPositions) {
  const Pair pair = changed("llama", [](Checkpoint& checkpoint) {
    checkpoint.config.erase("rope_parameters");
    checkpoint.config["rope_theta"] = 500000.0;
  });
  EXPECT_THAT(resolved_yaml(pair.after.recipe), HasSubstr("rope_theta: 500000"));
}

TEST(Llama, HasAHeadOfItsOwnUnlessItIsTied) {
  const Pair pair = changed("llama", [](Checkpoint& checkpoint) {
    checkpoint.config["tie_word_embeddings"] = true;
    checkpoint.tensors.erase("lm_head.weight");
  });
  EXPECT_THAT(resolved_yaml(pair.before.recipe), HasSubstr("head: {tied: false}"));
  EXPECT_THAT(resolved_yaml(pair.after.recipe), HasSubstr("head: {tied: true}"));
  const at::Tensor tokens = at::arange(9);
  Checkpoint untied("llama");
  untied.tensors["lm_head.weight"] = untied.tensors.at("model.embed_tokens.weight");
  untied.write();
  EXPECT_EQ(largest_difference(logits_of(*untied.import().model, tokens),
                               logits_of(*pair.after.model, tokens)),
            0);
}

TEST(Llama, MayHoldItsTiedHeadTwice) {
  Checkpoint checkpoint("llama");
  checkpoint.config["tie_word_embeddings"] = true;
  checkpoint.tensors["lm_head.weight"] = checkpoint.tensors.at("model.embed_tokens.weight");
  EXPECT_EQ(checkpoint.refusal(), "");
}

TEST(Llama, MayHoldTheFrequenciesThatOldVersionsSaved) {
  Checkpoint checkpoint("llama");
  checkpoint.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({4});
  EXPECT_EQ(checkpoint.refusal(), "");
}

TEST(Llama, HasBiasesWhereItsConfigSaysSo) {
  const Pair pair = changed("llama", [](Checkpoint& checkpoint) {
    checkpoint.config["attention_bias"] = true;
    for (int layer = 0; layer < 3; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
      for (const auto& [name, rows] : {std::pair("q_proj", 32), std::pair("k_proj", 16),
                                       std::pair("v_proj", 16), std::pair("o_proj", 32)})
        checkpoint.tensors[prefix + name + ".bias"] = at::full({rows}, 0.5);
    }
  });
  EXPECT_EQ(parameters_of(*pair.after.model).at("blocks.2.0.mixer.o_proj.bias")[31].item<float>(),
            0.5);
}

TEST(Weights, OfSixteenBitsAreWidened) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    Checkpoint checkpoint("llama");
    for (auto& [name, tensor] : checkpoint.tensors) tensor = tensor.to(type);
    checkpoint.write();
    const Parameters parameters = parameters_of(*checkpoint.import().model);
    const at::Tensor& value = parameters.at("blocks.1.0.mixer.v_proj.weight");
    EXPECT_EQ(value.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(
        value, checkpoint.tensors.at("model.layers.1.self_attn.v_proj.weight").to(at::kFloat)));
  }
}

// Two files and their index, in place of the one.
void split(const Checkpoint& checkpoint) {
  NamedTensors parts[2];
  nlohmann::json map;
  size_t index = 0;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const size_t part = index++ % 2;
    parts[part].tensors[name] = tensor;
    map[name] = "model-0000" + std::to_string(part + 1) + "-of-00002.safetensors";
  }
  std::filesystem::remove(checkpoint.folder() / "model.safetensors");
  for (int part = 0; part < 2; ++part) {
    write_safetensors(
        checkpoint.folder() / ("model-0000" + std::to_string(part + 1) + "-of-00002.safetensors"),
        parts[part]);
  }
  std::ofstream(checkpoint.folder() / "model.safetensors.index.json")
      << nlohmann::json({{"metadata", {{"total_size", 1}}}, {"weight_map", map}}).dump();
}

TEST(Weights, MayBeSplitOverFiles) {
  Checkpoint checkpoint("llama");
  ImportedModel before = checkpoint.import();
  split(checkpoint);
  expect_equal({std::move(before), checkpoint.import()});
}

TEST(Weights, ThatAnIndexNamesMustBeInItsFiles) {
  Checkpoint checkpoint("llama");
  split(checkpoint);
  write_safetensors(checkpoint.folder() / "model-00001-of-00002.safetensors",
                    {{{"lm_head.weight", at::ones({256, 32})}}, {}});
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr("is not in model-0000"));
  std::filesystem::remove(checkpoint.folder() / "model-00002-of-00002.safetensors");
  EXPECT_THAT(checkpoint.refusal_as_it_is(), HasSubstr("model-00002-of-00002.safetensors"));
}

TEST(Mamba2, TakesAFiniteLimitAndBiasesAndGroups) {
  const Pair pair = changed("mamba2", [](Checkpoint& checkpoint) {
    checkpoint.config["time_step_limit"] = {0.01, 0.5};
    checkpoint.config["use_bias"] = true;
    checkpoint.config["use_conv_bias"] = false;
    for (int layer = 0; layer < 3; ++layer) {
      const std::string prefix = "backbone.layers." + std::to_string(layer) + ".mixer.";
      checkpoint.tensors.erase(prefix + "conv1d.bias");
      checkpoint.tensors[prefix + "in_proj.bias"] = at::ones({164});
      checkpoint.tensors[prefix + "out_proj.bias"] = at::ones({32});
    }
  });
  EXPECT_THAT(resolved_yaml(pair.after.recipe), HasSubstr("dt_limit: [0.01, 0.5]"));
}

TEST(Mamba2, MayCallItsEmbeddingAsMambaDoes) {
  expect_equal(changed("mamba2", [](Checkpoint& checkpoint) {
    checkpoint.tensors["backbone.embedding.weight"] =
        checkpoint.tensors.at("backbone.embeddings.weight");
    checkpoint.tensors.erase("backbone.embeddings.weight");
  }));
}

}  // namespace
}  // namespace echo
