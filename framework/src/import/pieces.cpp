#include "framework/src/import/pieces.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>

namespace echo {

namespace {

// Names, versions, precision of the file, token ids, what training and generation do by default.
const std::vector<std::string> kNoMatter = {
    "_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache",
    "_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "bos_token_id",
    "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "tokenizer_class", "task_specific_params", "initializer_range",
    "attention_dropout", "max_position_embeddings", "pretraining_tp", "output_attentions",
    "output_hidden_states", "return_dict", "return_dict_in_generate", "output_scores", "id2label",
    "label2id", "problem_type", "num_labels", "finetuning_task", "prefix", "torchscript",
    "use_bfloat16", "tf_legacy_loss", "chunk_size_feed_forward", "gradient_checkpointing",
    // of generation
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "remove_invalid_values", "auto_map", "transformers.js_config",
    "is_decoder", "tie_encoder_decoder"};

std::vector<std::string> words_of(const Json& list) {
  std::vector<std::string> words;
  for (const Json& item : list) words.push_back(item.is_string() ? item.get<std::string>() : "");
  return words;
}

// transformers 4 called them so.
std::string modern_layer_type(const std::string& name) {
  return name == "mamba" ? "linear_attention" : name == "attention" ? "full_attention" : name;
}

struct Rotary {
  std::optional<double> theta = 10000;
  double fraction = 1;
};

// Version 5 has rope_parameters {rope_theta, rope_type, partial_rotary_factor}; version 4 has
// rope_theta, partial_rotary_factor and rope_scaling, which goes before.
Rotary read_rotary(Config& config, const HeadDefaults& defaults) {
  Rotary rotary;
  const auto read_theta = [&](Config& from) {
    if (from.is_written_null("rope_theta") && defaults.no_rope) {
      rotary.theta.reset();
      from.ignore({"rope_theta"});
    } else {
      rotary.theta = from.positive("rope_theta", rotary.theta);
    }
  };
  read_theta(config);
  rotary.fraction = config.positive("partial_rotary_factor", defaults.rope_fraction);
  const Json* parameters = config.find("rope_parameters");
  const Json* scaling = config.find("rope_scaling");
  const std::string field = scaling && !scaling->empty() ? "rope_scaling" : "rope_parameters";
  if (scaling && !scaling->empty()) parameters = scaling;
  if (!parameters) return rotary;
  if (!parameters->is_object()) config.refuse(field, "it takes an object");
  Config inside(config.file() + ": " + field, *parameters);
  for (const char* type : {"rope_type", "type"})
    inside.only(type, {"default"}, "Echo does not scale rotary positions");
  read_theta(inside);
  rotary.fraction = inside.positive("partial_rotary_factor", rotary.fraction);
  inside.finish("plain rotary positions");
  return rotary;
}

// Whole dimensions, as transformers cuts them.
double whole_fraction(Config& config, double fraction, int64_t head_width) {
  const auto turned = static_cast<int64_t>(static_cast<double>(head_width) * fraction);
  if (turned < 2 || turned > head_width || turned % 2 != 0) {
    config.refuse(fraction == 1 ? "head_dim" : "partial_rotary_factor",
                  "rotary positions turn " + std::to_string(turned) + " of a head's " +
                      std::to_string(head_width) + " dimensions; allowed: an even number of them");
  }
  return static_cast<double>(turned) / static_cast<double>(head_width);
}

}  // namespace

void read_common(Config& config) {
  config.ignore(kNoMatter);
  for (const char* field : {"is_encoder_decoder", "add_cross_attention"})
    config.only(field, {false}, "Echo's models only decode");
  config.only("pruned_heads", {Json::object()}, "Echo does not leave heads out");
  config.only("cross_attention_hidden_size", {}, "Echo's models only decode");
  config.only("quantization_config", {}, "Echo reads weights of 16, 32 and 64 bits");
}

Stem read_stem(Config& config) {
  Stem stem;
  stem.width = config.count("hidden_size");
  stem.vocabulary = config.count("vocab_size");
  stem.layers = config.count("num_hidden_layers");
  constexpr int64_t kMostLayers = 4096;
  if (stem.layers > kMostLayers)
    config.refuse("num_hidden_layers", "a model has at most 4096 blocks");
  stem.tied = config.flag("tie_word_embeddings", false);
  return stem;
}

Json model_section(const Stem& stem, double eps, const Json& mixers, const Json& blocks) {
  Json model;
  model["width"] = stem.width;
  model["vocabulary"] = stem.vocabulary;
  model["mixers"] = mixers;
  model["blocks"] = blocks;
  model["norm"] = {{"kind", "rms_norm"}, {"eps", eps}};
  model["head"] = {{"tied", stem.tied}};
  return model;
}

void read_activation(Config& config) {
  config.only("hidden_act", {"silu", "swish"}, "Echo's layers use silu");
}

Json read_attention(Config& config, int64_t width, double eps, const HeadDefaults& defaults) {
  const int64_t heads = config.count("num_attention_heads");
  const bool as_many = config.is_written_null("num_key_value_heads");
  const int64_t kv_heads =
      config.count("num_key_value_heads", as_many ? heads : defaults.kv_heads.value_or(heads));
  if (heads % kv_heads != 0) {
    config.refuse("num_key_value_heads",
                  "it does not divide the " + std::to_string(heads) + " num_attention_heads");
  }
  if (!defaults.head_width && !config.find("head_dim") && width % heads != 0)
    config.refuse("num_attention_heads", "it does not divide hidden_size; give head_dim");
  const int64_t head_width = config.count("head_dim", defaults.head_width.value_or(width / heads));
  const Rotary rotary = read_rotary(config, defaults);
  if (!defaults.partial_rope && rotary.fraction != 1) {
    config.refuse("partial_rotary_factor", "this class turns whole heads; allowed: 1");
  }
  Json attention;
  attention["kind"] = "attention";
  attention["heads"] = heads;
  attention["kv_heads"] = kv_heads;
  attention["head_width"] = head_width;
  attention["rope_theta"] = nullptr;
  if (rotary.theta) {
    attention["rope_theta"] = *rotary.theta;
    attention["rope_fraction"] = whole_fraction(config, rotary.fraction, head_width);
  }
  attention["norm_eps"] = eps;
  return attention;
}

std::vector<std::string> read_layer_types(Config& config, const Stem& stem,
                                          const std::vector<std::string>& allowed,
                                          const std::function<std::string(int64_t)>& otherwise) {
  const Json* list = config.find("layer_types");
  std::vector<std::string> types;
  if (!list) {
    for (int64_t layer = 0; layer < stem.layers; ++layer) types.push_back(otherwise(layer));
    return types;
  }
  if (!list->is_array() || static_cast<int64_t>(list->size()) != stem.layers) {
    config.refuse("layer_types", "it takes a list of num_hidden_layers (" +
                                     std::to_string(stem.layers) + ") words");
  }
  for (const std::string& word : words_of(*list)) {
    types.push_back(modern_layer_type(word));
    if (std::find(allowed.begin(), allowed.end(), types.back()) != allowed.end()) continue;
    std::string words;
    for (const std::string& name : allowed) words += (words.empty() ? "" : ", ") + name;
    config.refuse("layer_types",
                  "'" + word + "' is no layer that Echo has in this class; allowed: " + words);
  }
  return types;
}

std::string branch_name(int64_t layer, int64_t branch) {
  return "blocks." + std::to_string(layer) + "." + std::to_string(branch) + ".";
}

void link_norm(Blueprint& blueprint, const std::string& stored, const std::string& branch,
               double offset) {
  Link link = same(stored + "weight", branch + "norm.weight");
  link.offset = offset;
  blueprint.links.push_back(std::move(link));
}

void link_attention(Blueprint& blueprint, const Json& attention, const std::string& stored,
                    const std::string& mixer, double norm_offset) {
  const auto link = [&](const std::string& name) -> Link& {
    blueprint.links.push_back(same(stored + name, mixer + name));
    return blueprint.links.back();
  };
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
    link(name + std::string(".weight"));
  if (attention.value("bias", false)) {
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) link(name + std::string(".bias"));
  }
  if (attention.value("output_bias", false)) link("o_proj.bias");
  if (!attention.value("qk_norm", false)) return;
  for (const char* name : {"q_norm.weight", "k_norm.weight"}) link(name).offset = norm_offset;
}

void link_swiglu(Blueprint& blueprint, const std::string& stored, const std::string& mixer) {
  for (const char* name : {"gate_proj.weight", "up_proj.weight", "down_proj.weight"})
    blueprint.links.push_back(same(stored + name, mixer + name));
}

void link_fused_convolution(Blueprint& blueprint, const std::string& stored,
                            const std::string& mixer, int64_t keys, int64_t values) {
  Link link;
  link.stored = stored;
  link.parts = {{mixer + "q_conv1d.weight", row_range(0, keys)},
                {mixer + "k_conv1d.weight", row_range(keys, keys)},
                {mixer + "v_conv1d.weight", row_range(2 * keys, values)}};
  blueprint.links.push_back(std::move(link));
}

void link_ends(Blueprint& blueprint, const Stem& stem, const EndNames& names, double norm_offset) {
  blueprint.links.push_back(same(names.embedding, "embedding.weight"));
  blueprint.links.push_back(same(names.norm, "final_norm.weight"));
  blueprint.links.back().offset = norm_offset;
  if (stem.tied) {
    blueprint.tied_head = names.head;
    blueprint.embedding = names.embedding;
  } else {
    blueprint.links.push_back(same(names.head, "head.weight"));
  }
}

const Json& mixer_at(const Json& model, size_t layer, size_t branch) {
  return model.at("blocks").at(layer).at(branch).at("mixer");
}

Json write_common(const char* name, const char* type, const Json& model) {
  Json config;
  config["architectures"] = Json::array({name});
  config["model_type"] = type;
  config["dtype"] = "float32";
  config["hidden_size"] = model.at("width");
  config["vocab_size"] = model.at("vocabulary");
  config["num_hidden_layers"] = model.at("blocks").size();
  config["tie_word_embeddings"] = model.at("head").at("tied");
  config["hidden_act"] = "silu";
  // The model has no special tokens of its own.
  for (const char* token : {"bos_token_id", "eos_token_id", "pad_token_id"})
    config[token] = nullptr;
  return config;
}

void write_delta(Json& config, const Json& delta) {
  config["linear_num_key_heads"] = delta.at("heads");
  config["linear_num_value_heads"] = delta.at("value_heads");
  config["linear_key_head_dim"] = delta.at("key_width");
  config["linear_value_head_dim"] = delta.at("value_width");
  config["linear_conv_kernel_dim"] = delta.at("kernel");
}

void write_attention(Json& config, const Json& attention) {
  config["num_attention_heads"] = attention.at("heads");
  config["num_key_value_heads"] = attention.at("kv_heads");
  config["head_dim"] = attention.at("head_width");
  config["max_position_embeddings"] = 1 << 20;  // rotary positions have no end
  if (attention.at("rope_theta").is_null()) return;
  Json rope = {{"rope_type", "default"}, {"rope_theta", attention.at("rope_theta").get<double>()}};
  const auto width = attention.at("head_width").get<double>();
  auto fraction = attention.value("rope_fraction", 1.0);
  if (fraction != 1) {
    const double turned = std::round(width * fraction);
    fraction = turned / width;
    while (std::trunc(width * fraction) < turned) fraction = std::nextafter(fraction, 2.0);
    rope["partial_rotary_factor"] = fraction;
  }
  config["rope_parameters"] = rope;
}

}  // namespace echo
