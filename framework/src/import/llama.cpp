#include "framework/src/import/architecture.h"
#include "framework/src/import/pieces.h"

#include <algorithm>

// Llama and those that differ from it in biases, windows or norms of queries and keys: Mistral,
// Qwen2, Qwen3.

namespace echo {

namespace {

// The window of the layers that have one: Qwen's rule of versions 4 and 5. Null: none has.
std::vector<std::string> read_windows(Config& config, const Stem& stem, Json& window) {
  const bool used =
      config.flag("use_sliding_window", false) && !config.is_written_null("sliding_window");
  const int64_t size = config.count("sliding_window", 4096);
  const Json* first = config.find("max_window_layers");
  if (first && !first->is_number_integer())
    config.refuse("max_window_layers", "it takes a whole number");
  const int64_t full_layers = first ? first->get<int64_t>() : 28;
  if (used) window = size;
  const auto types =
      read_layer_types(config, stem, {"full_attention", "sliding_attention"}, [&](int64_t layer) {
        return used && layer >= full_layers ? "sliding_attention" : "full_attention";
      });
  if (!used && std::count(types.begin(), types.end(), "sliding_attention"))
    config.refuse("layer_types", "'sliding_attention' needs use_sliding_window true");
  return types;
}

struct Family {
  HeadDefaults heads;
  bool biases = false;  // config.json may ask for biases of all four projections
  bool bias = false;    // queries, keys and values always have one
  bool qk_norm = false;
};

Blueprint blueprint_of(Config& config, const Family& family, const Json& window,
                       const std::vector<std::string>& types, const Stem& stem) {
  const double eps = config.positive("rms_norm_eps", 1e-6);
  Json attention = read_attention(config, stem.width, eps, family.heads);
  const bool biases = family.biases && config.flag("attention_bias", false);
  attention["bias"] = family.bias || biases;
  attention["output_bias"] = biases;
  attention["qk_norm"] = family.qk_norm;
  Json mixers;
  Json blocks = Json::array();
  const auto is_window = [&](int64_t layer) {
    return types[static_cast<size_t>(layer)] == "sliding_attention";
  };
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const char* name = is_window(layer) ? "window" : "attention";
    mixers[name] = attention;
    if (is_window(layer)) mixers[name]["window"] = window;
    blocks.push_back(Json::array({name, "ffn"}));
  }
  mixers["ffn"] = {{"kind", "swiglu"}, {"hidden", config.count("intermediate_size")}};

  Blueprint blueprint;
  blueprint.model = model_section(stem, eps, mixers, blocks);
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const std::string stored = "model.layers." + std::to_string(layer) + ".";
    const std::string mix = branch_name(layer, 0), feed = branch_name(layer, 1);
    link_norm(blueprint, stored + "input_layernorm.", mix);
    link_attention(blueprint, attention, stored + "self_attn.", mix + "mixer.");
    link_norm(blueprint, stored + "post_attention_layernorm.", feed);
    link_swiglu(blueprint, stored + "mlp.", feed + "mixer.");
  }
  link_ends(blueprint, stem);
  blueprint.derived = {".self_attn.rotary_emb.inv_freq"};
  return blueprint;
}

Stem begin(Config& config) {
  read_common(config);
  read_activation(config);
  return read_stem(config);
}

std::vector<std::string> all_layers(const Stem& stem, const char* type) {
  return std::vector<std::string>(static_cast<size_t>(stem.layers), type);
}

Blueprint read_llama(Config& config) {
  const Stem stem = begin(config);
  config.only("is_llama_config", {true}, "the class is a Llama");
  config.only("rope_interleaved", {false}, "Echo turns halves of a head, not neighbours");
  config.only("mlp_bias", {false}, "Echo's feed-forward layer has no biases");
  return blueprint_of(config, {.biases = true}, nullptr, all_layers(stem, "full_attention"), stem);
}

Blueprint read_mistral(Config& config) {
  const Stem stem = begin(config);
  Json window;
  const int64_t size = config.count("sliding_window", 4096);
  if (!config.is_written_null("sliding_window")) window = size;
  const char* type = window.is_null() ? "full_attention" : "sliding_attention";
  return blueprint_of(config, {.heads = {.kv_heads = 8}}, window, all_layers(stem, type), stem);
}

Blueprint read_qwen2(Config& config) {
  const Stem stem = begin(config);
  config.only("use_mrope", {false}, "Echo's positions have one axis");
  Json window;
  const auto types = read_windows(config, stem, window);
  return blueprint_of(config, {.heads = {.kv_heads = 32}, .bias = true}, window, types, stem);
}

Blueprint read_qwen3(Config& config) {
  const Stem stem = begin(config);
  Json window;
  const auto types = read_windows(config, stem, window);
  const Family family{
      .heads = {.kv_heads = 32, .head_width = 128}, .biases = true, .qk_norm = true};
  return blueprint_of(config, family, window, types, stem);
}

// What the four have in common.
Json write_family(const char* name, const char* type, const Json& model) {
  Json config = write_common(name, type, model);
  write_attention(config, mixer_at(model, 0, 0));
  config["intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  config["rms_norm_eps"] = model.at("norm").at("eps").get<double>();
  return config;
}

std::optional<Json> write_llama(const Json& model) {
  Json config = write_family("LlamaForCausalLM", "llama", model);
  // transformers refuses a Llama whose width its heads do not divide.
  if (config["hidden_size"].get<int64_t>() % config["num_attention_heads"].get<int64_t>())
    return std::nullopt;
  config["attention_bias"] = mixer_at(model, 0, 0).at("output_bias");
  config["mlp_bias"] = false;
  return config;
}

std::optional<Json> write_mistral(const Json& model) {
  Json config = write_family("MistralForCausalLM", "mistral", model);
  config["sliding_window"] = mixer_at(model, 0, 0).at("window");
  return config;
}

void write_windows(Json& config, const Json& model) {
  Json types = Json::array();
  Json window;
  for (size_t layer = 0; layer < model.at("blocks").size(); ++layer) {
    const Json& own = mixer_at(model, layer, 0).at("window");
    if (window.is_null()) window = own;
    types.push_back(own.is_null() ? "full_attention" : "sliding_attention");
  }
  config["use_sliding_window"] = !window.is_null();
  if (!window.is_null()) config["sliding_window"] = window;
  config["layer_types"] = types;
}

std::optional<Json> write_qwen2(const Json& model) {
  Json config = write_family("Qwen2ForCausalLM", "qwen2", model);
  write_windows(config, model);
  return config;
}

std::optional<Json> write_qwen3(const Json& model) {
  Json config = write_family("Qwen3ForCausalLM", "qwen3", model);
  write_windows(config, model);
  config["attention_bias"] = mixer_at(model, 0, 0).at("output_bias");
  return config;
}

}  // namespace

std::vector<Architecture> llama_architectures() {
  const std::vector<std::vector<std::string>> kinds = {{"attention"}, {"swiglu"}};
  return {{"LlamaForCausalLM", "llama", kinds, read_llama, write_llama},
          {"MistralForCausalLM", "mistral", kinds, read_mistral, write_mistral},
          {"Qwen2ForCausalLM", "qwen2", kinds, read_qwen2, write_qwen2},
          {"Qwen3ForCausalLM", "qwen3", kinds, read_qwen3, write_qwen3}};
}

}  // namespace echo
