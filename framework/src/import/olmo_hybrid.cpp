#include "framework/src/import/architecture.h"
#include "framework/src/import/pieces.h"

// OLMo hybrid: Gated DeltaNet with norms before each branch, and attention with norms behind, whose
// queries and keys are normalised over all heads together.

namespace echo {

namespace {

constexpr double kDeltaEps =
    1e-5;  // of the norm inside of Gated DeltaNet, whatever the config says

bool is_linear(const std::string& type) { return type == "linear_attention"; }

// Without layer_types every fourth layer is attention, and the last one where that gives none.
std::vector<std::string> read_types(Config& config, const Stem& stem) {
  return read_layer_types(config, stem, {"linear_attention", "full_attention"}, [&](int64_t layer) {
    const bool full = layer % 4 == 3 || (stem.layers < 4 && layer == stem.layers - 1);
    return full ? "full_attention" : "linear_attention";
  });
}

Json read_delta(Config& config, const Stem& stem, int64_t heads) {
  // Of initial values.
  config.ignore({"linear_a_log_min", "linear_a_log_max", "linear_dt_min", "linear_dt_max",
                 "linear_dt_init_floor"});
  Json delta;
  delta["kind"] = "gated_deltanet";
  const int64_t keys = config.count("linear_num_key_heads", heads);
  const int64_t values = config.count("linear_num_value_heads", heads);
  if (values % keys != 0) {
    config.refuse("linear_num_value_heads",
                  "it is no multiple of linear_num_key_heads (" + std::to_string(keys) + ")");
  }
  delta["heads"] = keys;
  delta["value_heads"] = values;
  const int64_t key_width = config.count("linear_key_head_dim", 3 * stem.width / (4 * keys));
  delta["key_width"] = key_width;
  delta["value_width"] = config.count("linear_value_head_dim", 2 * key_width);
  delta["kernel"] = config.count("linear_conv_kernel_dim", 4);
  delta["negative_eigenvalues"] = config.flag("linear_allow_neg_eigval", true);
  delta["norm_eps"] = kDeltaEps;
  return delta;
}

void link_delta(Blueprint& blueprint, const Json& delta, const std::string& stored,
                const std::string& mixer) {
  for (const char* name :
       {"q_proj.weight", "k_proj.weight", "v_proj.weight", "g_proj.weight", "a_proj.weight",
        "b_proj.weight", "A_log", "dt_bias", "o_norm.weight", "o_proj.weight"})
    blueprint.links.push_back(same(stored + name, mixer + name));
  const auto rows = [&](const char* heads, const char* width) {
    return delta.at(heads).get<int64_t>() * delta.at(width).get<int64_t>();
  };
  link_fused_convolution(blueprint, stored + "conv1d.weight", mixer, rows("heads", "key_width"),
                         rows("value_heads", "value_width"));
  // In files they are three; transformers joins them, wherever it has cut.
  for (const char* name : {"q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight"})
    blueprint.links.back().pieces.push_back(stored + name);
}

// `stored` is the module's name; files have the name of OLMo-core as well.
void link_named_norm(Blueprint& blueprint, const std::string& layer, const char* stored,
                     const char* alias, const std::string& branch) {
  link_norm(blueprint, layer + stored + ".", branch);
  blueprint.links.back().aliases = {layer + alias + ".weight"};
}

Blueprint read_olmo_hybrid(Config& config) {
  read_common(config);
  read_activation(config);
  const Stem stem = read_stem(config);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const auto types = read_types(config, stem);
  Json attention = read_attention(config, stem.width, eps, {.no_rope = true});
  attention["bias"] = attention["output_bias"] = config.flag("attention_bias", false);
  attention["qk_norm"] = true;
  attention["qk_norm_over"] = "all";
  const Json delta = read_delta(config, stem, attention.at("heads").get<int64_t>());

  Json mixers, blocks = Json::array();
  const auto behind = [](const char* name) -> Json { return {{"mixer", name}, {"norm", "post"}}; };
  for (const std::string& type : types) {
    mixers[is_linear(type) ? "delta" : "attention"] = is_linear(type) ? delta : attention;
    Json block = Json::array();
    block.push_back(is_linear(type) ? Json("delta") : behind("attention"));
    block.push_back(is_linear(type) ? Json("ffn") : behind("ffn"));
    blocks.push_back(std::move(block));
  }
  mixers["ffn"] = {{"kind", "swiglu"}, {"hidden", config.count("intermediate_size")}};
  Blueprint blueprint;
  blueprint.model = model_section(stem, eps, mixers, blocks);
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const std::string stored = "model.layers." + std::to_string(layer) + ".";
    const std::string mix = branch_name(layer, 0), feed = branch_name(layer, 1);
    if (is_linear(types[static_cast<size_t>(layer)])) {
      link_named_norm(blueprint, stored, "input_layernorm", "attention_layer_norm", mix);
      link_delta(blueprint, delta, stored + "linear_attn.", mix + "mixer.");
      link_named_norm(blueprint, stored, "post_attention_layernorm", "feedforward_layer_norm",
                      feed);
    } else {
      link_attention(blueprint, attention, stored + "self_attn.", mix + "mixer.");
      link_named_norm(blueprint, stored, "post_attention_layernorm", "feedforward_layer_norm", mix);
      link_norm(blueprint, stored + "post_feedforward_layernorm.", feed);
    }
    link_swiglu(blueprint, stored + "mlp.", feed + "mixer.");
  }
  link_ends(blueprint, stem);
  return blueprint;
}

std::optional<Json> write_olmo_hybrid(const Json& model) {
  Json config = write_common("OlmoHybridForCausalLM", "olmo_hybrid", model);
  config["rms_norm_eps"] = model.at("norm").at("eps").get<double>();
  config["intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  Json types = Json::array();
  for (size_t layer = 0; layer < model.at("blocks").size(); ++layer) {
    const Json& mixer = mixer_at(model, layer, 0);
    const bool linear = mixer.at("kind") == "gated_deltanet";
    types.push_back(linear ? "linear_attention" : "full_attention");
    if (linear) {
      write_delta(config, mixer);
      config["linear_allow_neg_eigval"] = mixer.at("negative_eigenvalues");
    } else {
      write_attention(config, mixer);
      if (mixer.at("rope_theta").is_null())
        config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", nullptr}};
      config["attention_bias"] = mixer.at("output_bias");
    }
  }
  config["layer_types"] = types;
  // The class wants layers of both kinds.
  if (!config.contains("head_dim") || !config.contains("linear_key_head_dim")) return std::nullopt;
  return config;
}

}  // namespace

std::vector<Architecture> olmo_hybrid_architectures() {
  return {{"OlmoHybridForCausalLM",
           "olmo_hybrid",
           {{"gated_deltanet", "attention"}, {"swiglu"}},
           read_olmo_hybrid,
           write_olmo_hybrid}};
}

}  // namespace echo
