#include "framework/src/import/architecture.h"
#include "framework/src/import/mamba2_fields.h"
#include "framework/src/import/pieces.h"

#include <algorithm>
#include <cmath>

// Stacks of Mamba-2 and attention layers with SwiGLU behind each: Granite 4 without experts, Bamba.

namespace echo {

namespace {

constexpr const Mamba2Fields& kFields = kMambaHybridFields;

// A stack whose layers are `mamba` or `attention`, then `ffn`.
struct Stack {
  Stem stem;
  double eps = 0;
  double scale = 1;                // of every branch
  std::vector<std::string> types;  // "linear_attention", "full_attention"
  Json mamba, attention;
  int64_t hidden = 0;
};

bool is_mamba(const std::string& type) { return type == "linear_attention"; }

Json model_of(const Stack& stack) {
  Json mixers, blocks = Json::array();
  const auto branch = [&](const char* name) -> Json {
    if (stack.scale == 1) return name;
    return {{"mixer", name}, {"scale", stack.scale}};
  };
  for (const std::string& type : stack.types) {
    const char* name = is_mamba(type) ? "mamba" : "attention";
    mixers[name] = is_mamba(type) ? stack.mamba : stack.attention;
    Json block = Json::array();
    block.push_back(branch(name));
    block.push_back(branch("ffn"));
    blocks.push_back(std::move(block));
  }
  mixers["ffn"] = {{"kind", "swiglu"}, {"hidden", stack.hidden}};
  return model_section(stack.stem, stack.eps, mixers, blocks);
}

// Norms and mixers of a layer; `stored` is "model.layers.0.".
void link_layer(Blueprint& blueprint, const Stack& stack, int64_t layer, const std::string& stored,
                const std::string& second_norm) {
  const std::string mix = branch_name(layer, 0);
  link_norm(blueprint, stored + "input_layernorm.", mix);
  if (is_mamba(stack.types[static_cast<size_t>(layer)])) {
    link_mamba2(blueprint, stack.mamba, stored + "mamba.", mix + "mixer.");
  } else {
    link_attention(blueprint, stack.attention, stored + "self_attn.", mix + "mixer.");
  }
  link_norm(blueprint, stored + second_norm, branch_name(layer, 1));
}

// Scores are q . k times attention_multiplier, not 1 / sqrt(head_width): q takes the difference.
void scale_queries(Blueprint& blueprint, double multiplier, double head_width) {
  const double factor = multiplier * std::sqrt(head_width);
  constexpr double kRounding = 1e-12;
  if (std::abs(factor - 1) < kRounding) return;
  for (Link& link : blueprint.links) {
    if (link.stored.find(".self_attn.q_proj.") != std::string::npos) link.factor = factor;
  }
}

void begin(Config& config, Stack& stack) {
  read_common(config);
  read_activation(config);
  config.ignore({"mamba_chunk_size"});
  stack.stem = read_stem(config);
}

Blueprint read_granite(Config& config) {
  Stack stack;
  begin(config, stack);
  config.ignore({"intermediate_size", "num_experts_per_tok", "output_router_logits",
                 "router_aux_loss_coef", "init_method"});  // of experts, and of training
  if (const Json* experts = config.find("num_local_experts"); !experts || *experts != 0)
    config.refuse("num_local_experts", "Echo has no experts; allowed: 0 (8 where it is missing)");
  config.only("normalization_function", {"rmsnorm"}, "this class has no other norm in Echo");
  stack.eps = config.positive("rms_norm_eps", 1e-6);
  stack.scale = config.positive("residual_multiplier", 1);
  stack.hidden = config.count("shared_intermediate_size", 1024);
  stack.types = read_layer_types(config, stack.stem, {"linear_attention", "full_attention"},
                                 [](int64_t) { return "linear_attention"; });
  stack.mamba = read_mamba2_mixer(config, kFields, stack.stem.width, stack.eps);
  stack.attention = read_attention(config, stack.stem.width, stack.eps, {});
  stack.attention["bias"] = stack.attention["output_bias"] = config.flag("attention_bias", false);
  config.only("position_embedding_type", {"rope", "nope"}, "Echo has no others for this class");
  if (config.word("position_embedding_type", "nope") != "rope")
    stack.attention["rope_theta"] = nullptr;

  Blueprint blueprint;
  blueprint.model = model_of(stack);
  blueprint.model["embedding_scale"] = config.number("embedding_multiplier", 1);
  blueprint.model["logit_scale"] = 1 / config.positive("logits_scaling", 1);
  for (int64_t layer = 0; layer < stack.stem.layers; ++layer) {
    const std::string stored = "model.layers." + std::to_string(layer) + ".";
    link_layer(blueprint, stack, layer, stored, "post_attention_layernorm.");
    const std::string feed = branch_name(layer, 1) + "mixer.";
    Link fused;
    fused.stored = stored + "shared_mlp.input_linear.weight";
    fused.parts = {{feed + "gate_proj.weight", row_range(0, stack.hidden)},
                   {feed + "up_proj.weight", row_range(stack.hidden, stack.hidden)}};
    blueprint.links.push_back(std::move(fused));
    blueprint.links.push_back(
        same(stored + "shared_mlp.output_linear.weight", feed + "down_proj.weight"));
  }
  link_ends(blueprint, stack.stem);
  scale_queries(blueprint, config.positive("attention_multiplier", 1),
                stack.attention.at("head_width").get<double>());
  return blueprint;
}

// attn_layer_indices counts layers of attention from 0.
std::vector<std::string> read_attention_layers(Config& config, const Stem& stem) {
  std::vector<std::string> types(static_cast<size_t>(stem.layers), "linear_attention");
  const Json* indices = config.find("attn_layer_indices");
  if (!indices) return types;
  if (!indices->is_array()) config.refuse("attn_layer_indices", "it takes a list of whole numbers");
  for (const Json& index : *indices) {
    if (!index.is_number_integer() || index < 0 || index >= stem.layers) {
      config.refuse("attn_layer_indices",
                    "it takes numbers of layers, 0 to " + std::to_string(stem.layers - 1));
    }
    types[index.get<size_t>()] = "full_attention";
  }
  return types;
}

Blueprint read_bamba(Config& config) {
  Stack stack;
  begin(config, stack);
  config.ignore({"num_logits_to_keep", "z_loss_coefficient"});  // of generation and training
  config.only("mlp_bias", {false}, "Echo's feed-forward layer has no biases");
  stack.eps = config.positive("rms_norm_eps", 1e-5);
  stack.hidden = config.count("intermediate_size");
  stack.types = read_attention_layers(config, stack.stem);
  stack.mamba = read_mamba2_mixer(config, kFields, stack.stem.width, stack.eps);
  stack.attention = read_attention(config, stack.stem.width, stack.eps,
                                   {.kv_heads = 8, .rope_fraction = 0.5, .partial_rope = true});
  const Json& attention = stack.attention;
  const double turned =
      attention.value("rope_fraction", 1.0) * attention.at("head_width").get<double>();
  config.only("attn_rotary_emb", {std::lround(turned)},
              "transformers turns another part of a head");
  stack.attention["bias"] = stack.attention["output_bias"] = config.flag("attention_bias", false);

  Blueprint blueprint;
  blueprint.model = model_of(stack);
  for (int64_t layer = 0; layer < stack.stem.layers; ++layer) {
    const std::string stored = "model.layers." + std::to_string(layer) + ".";
    link_layer(blueprint, stack, layer, stored, "pre_ff_layernorm.");
    link_swiglu(blueprint, stored + "feed_forward.", branch_name(layer, 1) + "mixer.");
  }
  link_ends(blueprint, stack.stem, {.norm = "model.final_layernorm.weight"});
  return blueprint;
}

// Both kinds of layers; where the model has none of one, the class still wants its fields.
void write_layers(Json& config, const Json& model) {
  config["rms_norm_eps"] = model.at("norm").at("eps").get<double>();
  config["num_attention_heads"] = config["num_key_value_heads"] = config["mamba_n_heads"] = 1;
  for (size_t layer = model.at("blocks").size(); layer-- > 0;) {
    const Json& mixer = mixer_at(model, layer, 0);
    if (mixer.at("kind") == "mamba2") {
      write_mamba2_mixer(config, kFields, mixer, model.at("width").get<int64_t>());
    } else {
      write_attention(config, mixer);
      config["attention_bias"] = mixer.at("output_bias");
    }
  }
}

bool is_mamba_layer(const Json& model, size_t layer) {
  return mixer_at(model, layer, 0).at("kind") == "mamba2";
}

std::optional<Json> write_granite(const Json& model) {
  Json config = write_common("GraniteMoeHybridForCausalLM", "granitemoehybrid", model);
  write_layers(config, model);
  config["num_local_experts"] = config["num_experts_per_tok"] = 0;
  config["shared_intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  config["embedding_multiplier"] = model.at("embedding_scale").get<double>();
  config["logits_scaling"] = 1 / model.at("logit_scale").get<double>();
  config["residual_multiplier"] = model.at("blocks")[0][0].at("scale").get<double>();
  config["position_embedding_type"] = "nope";
  Json types = Json::array();
  for (size_t layer = 0; layer < model.at("blocks").size(); ++layer) {
    types.push_back(is_mamba_layer(model, layer) ? "mamba" : "attention");
    if (is_mamba_layer(model, layer)) continue;
    const Json& attention = mixer_at(model, layer, 0);
    config["attention_multiplier"] = 1 / std::sqrt(attention.at("head_width").get<double>());
    if (!attention.at("rope_theta").is_null()) config["position_embedding_type"] = "rope";
  }
  config["layer_types"] = types;
  return config;
}

std::optional<Json> write_bamba(const Json& model) {
  Json config = write_common("BambaForCausalLM", "bamba", model);
  write_layers(config, model);
  config["intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  config["attn_layer_indices"] = Json::array();
  for (size_t layer = 0; layer < model.at("blocks").size(); ++layer) {
    if (!is_mamba_layer(model, layer)) config["attn_layer_indices"].push_back(layer);
  }
  return config;
}

}  // namespace

std::vector<Architecture> mamba_hybrid_architectures() {
  const std::vector<std::vector<std::string>> kinds = {{"mamba2", "attention"}, {"swiglu"}};
  return {{"GraniteMoeHybridForCausalLM", "granitemoehybrid", kinds, read_granite, write_granite},
          {"BambaForCausalLM", "bamba", kinds, read_bamba, write_bamba}};
}

}  // namespace echo
