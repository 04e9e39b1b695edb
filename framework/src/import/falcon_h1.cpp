#include "framework/src/import/architecture.h"
#include "framework/src/import/mamba2_fields.h"
#include "framework/src/import/pieces.h"

#include <algorithm>

// Layers of a Mamba-2 mixer and attention beside each other, then SwiGLU: Falcon-H1. Its many
// multipliers become scales where Echo has them, and factors of the weights elsewhere.

namespace echo {

namespace {

constexpr Mamba2Fields kFields = [] {
  Mamba2Fields fields = kMambaHybridFields;
  fields.inner = "mamba_d_ssm";
  fields.default_inner = 1024;
  return fields;
}();

// Factors of what goes into a layer's maps, and of what comes out of them.
struct Multipliers {
  double mamba_input, mamba_output, attention_input, attention_output, key, gate, down;
  std::vector<double> projected;  // of z, x, B, C, dt
};

std::vector<double> read_list(Config& config, const std::string& field, size_t size) {
  const std::vector<double> values = config.numbers(field, std::vector<double>(size, 1));
  const bool fits = values.size() == size && std::all_of(values.begin(), values.end(),
                                                         [](double value) { return value > 0; });
  if (!fits) config.refuse(field, "it takes " + std::to_string(size) + " numbers above 0");
  return values;
}

Multipliers read_multipliers(Config& config) {
  const std::vector<double> feed = read_list(config, "mlp_multipliers", 2);
  return {config.positive("ssm_in_multiplier", 1),
          config.positive("ssm_out_multiplier", 1),
          config.positive("attention_in_multiplier", 1),
          config.positive("attention_out_multiplier", 1),
          config.positive("key_multiplier", 1),
          feed[0],
          feed[1],
          read_list(config, "ssm_multipliers", 5)};
}

Json read_mamba(Config& config, int64_t width, double eps) {
  Json mamba = read_mamba2_mixer(config, kFields, width, eps);
  mamba["norm"] = config.flag("mamba_rms_norm", false);
  if (mamba["norm"]) {
    if (!config.find("mamba_norm_before_gate"))
      config.refuse("mamba_norm_before_gate", "it is missing, which means true; allowed: false");
    config.only("mamba_norm_before_gate", {false}, "Echo's Mamba-2 has its gate before the norm");
  } else {
    config.ignore({"mamba_norm_before_gate"});
  }
  config.only("projectors_bias", {mamba["bias"]}, "it must be what mamba_proj_bias is");
  if (mamba["bias"] && !config.find("projectors_bias"))
    config.refuse("projectors_bias", "it is missing; it must be what mamba_proj_bias is");
  return mamba;
}

// One factor for each row of in_proj: z, x, B, C, dt.
std::vector<double> row_factors(const Json& mamba, int64_t width, double input,
                                const std::vector<double>& projected) {
  const int64_t inner = mamba2_inner_width(mamba, width);
  const int64_t keys = mamba.at("groups").get<int64_t>() * mamba.at("state").get<int64_t>();
  const int64_t counts[] = {inner, inner, keys, keys,
                            inner / mamba.at("head_width").get<int64_t>()};
  std::vector<double> factors;
  for (size_t i = 0; i < projected.size(); ++i)
    factors.insert(factors.end(), row_range(0, counts[i]).size(), input * projected[i]);
  return factors;
}

void link_layer(Blueprint& blueprint, const Stem& stem, const Json& mamba, const Json& attention,
                const Multipliers& by, int64_t layer) {
  const std::string stored = "model.layers." + std::to_string(layer) + ".";
  const std::string mix = branch_name(layer, 0), feed = branch_name(layer, 1);
  const size_t first = blueprint.links.size();
  link_norm(blueprint, stored + "input_layernorm.", mix);
  link_mamba2(blueprint, mamba, stored + "mamba.", mix + "mixer.0.");
  link_attention(blueprint, attention, stored + "self_attn.", mix + "mixer.1.");
  link_norm(blueprint, stored + "pre_ff_layernorm.", feed);
  link_swiglu(blueprint, stored + "feed_forward.", feed + "mixer.");
  const auto ends_with = [](const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
  };
  for (size_t i = first; i < blueprint.links.size(); ++i) {
    Link& link = blueprint.links[i];
    const auto is = [&](const char* name) { return ends_with(link.stored, name); };
    if (is("q_proj.weight") || is("v_proj.weight")) link.factor = by.attention_input;
    if (is("k_proj.weight")) link.factor = by.attention_input * by.key;
    if (is("k_proj.bias")) link.factor = by.key;
    if (is("feed_forward.gate_proj.weight")) link.factor = by.gate;
    if (is("in_proj.weight"))
      link.row_factors = row_factors(mamba, stem.width, by.mamba_input, by.projected);
    if (is("in_proj.bias")) link.row_factors = row_factors(mamba, stem.width, 1, by.projected);
  }
}

Blueprint read_falcon_h1(Config& config) {
  read_common(config);
  read_activation(config);
  config.ignore({"mamba_chunk_size", "num_logits_to_keep", "time_step_min", "time_step_max",
                 "time_step_floor", "mlp_expansion_factor"});  // generation and initial values
  config.only("mlp_bias", {false}, "Echo's feed-forward layer has no biases");
  config.only("mamba_use_mlp", {true}, "every layer of this class has a feed-forward part");
  config.only("attn_layer_indices", {}, "every layer of this class has attention");
  const Stem stem = read_stem(config);
  for (const char* field : {"layer_types", "layers_block_type"}) {
    config.only(field, {Json(std::vector<std::string>(static_cast<size_t>(stem.layers), "hybrid"))},
                "all layers of this class are hybrid");
  }
  const double eps = config.positive("rms_norm_eps", 1e-5);
  const Multipliers by = read_multipliers(config);
  const Json mamba = read_mamba(config, stem.width, eps);
  Json attention = read_attention(config, stem.width, eps, {.kv_heads = 8});
  attention["bias"] = attention["output_bias"] = config.flag("attention_bias", false);

  const Json mixers = {
      {"mix",
       {{"kind", "parallel"},
        {"mixers", Json::array({mamba, attention})},
        {"scales", Json::array({by.mamba_output, by.attention_output})}}},
      {"ffn", {{"kind", "swiglu"}, {"hidden", config.count("intermediate_size", 14336)}}}};
  Json feed = "ffn";
  if (by.down != 1) feed = {{"mixer", "ffn"}, {"scale", by.down}};
  const Json blocks(static_cast<size_t>(stem.layers), Json::array({"mix", feed}));
  Blueprint blueprint;
  blueprint.model = model_section(stem, eps, mixers, blocks);
  blueprint.model["embedding_scale"] = config.number("embedding_multiplier", 1);
  blueprint.model["logit_scale"] = config.positive("lm_head_multiplier", 1);
  for (int64_t layer = 0; layer < stem.layers; ++layer)
    link_layer(blueprint, stem, mamba, attention, by, layer);
  link_ends(blueprint, stem, {.norm = "model.final_layernorm.weight"});
  return blueprint;
}

// The members of a layer's mixer, where they are what the class has.
const Json* member(const Json& model, size_t index, const char* kind) {
  const Json& members = mixer_at(model, 0, 0).at("mixers");
  if (members.size() != 2 || members[index].at("kind") != kind) return nullptr;
  return &members[index];
}

std::optional<Json> write_falcon_h1(const Json& model) {
  const Json* const mamba = member(model, 0, "mamba2");
  const Json* const attention = member(model, 1, "attention");
  if (!mamba || !attention) return {};
  Json config = write_common("FalconH1ForCausalLM", "falcon_h1", model);
  write_mamba2_mixer(config, kFields, *mamba, model.at("width").get<int64_t>());
  config["mamba_rms_norm"] = mamba->at("norm");
  config["mamba_norm_before_gate"] = false;
  config["projectors_bias"] = mamba->at("bias");
  write_attention(config, *attention);
  config["attention_bias"] = attention->at("output_bias");
  config["rms_norm_eps"] = model.at("norm").at("eps").get<double>();
  config["intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  const Json& scales = mixer_at(model, 0, 0).at("scales");
  config["ssm_out_multiplier"] = scales[0].get<double>();
  config["attention_out_multiplier"] = scales[1].get<double>();
  config["mlp_multipliers"] = {1.0, model.at("blocks")[0][1].at("scale").get<double>()};
  config["embedding_multiplier"] = model.at("embedding_scale").get<double>();
  config["lm_head_multiplier"] = model.at("logit_scale").get<double>();
  return config;
}

}  // namespace

std::vector<Architecture> falcon_h1_architectures() {
  return {{"FalconH1ForCausalLM",
           "falcon_h1",
           {{"parallel"}, {"swiglu"}},
           read_falcon_h1,
           write_falcon_h1}};
}

}  // namespace echo
