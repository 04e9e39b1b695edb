#include "framework/src/import/architecture.h"
#include "framework/src/import/pieces.h"

#include <algorithm>

// Qwen3-Next without experts: Gated DeltaNet and gated attention, norms stored around zero.

namespace echo {

namespace {

constexpr double kAroundZero = 1;

Json read_delta(Config& config, double eps) {
  Json delta;
  delta["kind"] = "gated_deltanet";
  delta["heads"] = config.count("linear_num_key_heads", 16);
  delta["value_heads"] = config.count("linear_num_value_heads", 32);
  delta["key_width"] = config.count("linear_key_head_dim", 128);
  delta["value_width"] = config.count("linear_value_head_dim", 128);
  delta["kernel"] = config.count("linear_conv_kernel_dim", 4);
  delta["negative_eigenvalues"] = false;
  delta["norm_eps"] = eps;
  if (delta["value_heads"].get<int64_t>() % delta["heads"].get<int64_t>() != 0) {
    config.refuse("linear_num_value_heads",
                  "it is no multiple of linear_num_key_heads (" + delta["heads"].dump() + ")");
  }
  return delta;
}

// Every layer whose feed-forward part has experts stands in the way.
void refuse_experts(Config& config, const Stem& stem) {
  config.ignore({"moe_intermediate_size", "shared_expert_intermediate_size", "num_experts_per_tok",
                 "norm_topk_prob", "output_router_logits", "router_aux_loss_coef"});
  const Json* experts = config.find("num_experts");
  const Json* dense = config.find("mlp_only_layers");
  const int64_t step = config.count("decoder_sparse_step", 1);
  if (experts && *experts == 0) return;
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const bool listed = dense && std::count(dense->begin(), dense->end(), layer) > 0;
    if (listed || (layer + 1) % step != 0) continue;
    config.refuse("num_experts",
                  "the layer " + std::to_string(layer) +
                      " has experts, and Echo has none; allowed: 0 (512 where it is missing)");
  }
}

// Rows of the fused projections: for each key head its q, k, v, z, and its b, a.
void link_delta(Blueprint& blueprint, const Json& delta, const std::string& stored,
                const std::string& mixer) {
  const auto heads = delta.at("heads").get<int64_t>(), key = delta.at("key_width").get<int64_t>();
  const int64_t ratio = delta.at("value_heads").get<int64_t>() / heads;
  const int64_t value = ratio * delta.at("value_width").get<int64_t>();
  const auto deal = [&](const std::string& name,
                        const std::vector<std::pair<const char*, int64_t>>& sizes) {
    Link link;
    link.stored = stored + name;
    for (const auto& [part, size] : sizes) {
      row_range(0, heads * size);  // refuses what is too large
      link.parts.push_back({mixer + part, {}});
    }
    int64_t row = 0;
    for (int64_t head = 0; head < heads; ++head) {
      for (size_t part = 0; part < sizes.size(); ++part) {
        const std::vector<int64_t> rows = row_range(row, sizes[part].second);
        std::vector<int64_t>& all = link.parts[part].rows;
        all.insert(all.end(), rows.begin(), rows.end());
        row += sizes[part].second;
      }
    }
    blueprint.links.push_back(std::move(link));
  };
  deal("in_proj_qkvz.weight", {{"q_proj.weight", key},
                               {"k_proj.weight", key},
                               {"v_proj.weight", value},
                               {"g_proj.weight", value}});
  deal("in_proj_ba.weight", {{"b_proj.weight", ratio}, {"a_proj.weight", ratio}});
  link_fused_convolution(blueprint, stored + "conv1d.weight", mixer, heads * key, heads * value);
  for (const char* name : {"A_log", "dt_bias"})
    blueprint.links.push_back(same(stored + name, mixer + name));
  blueprint.links.push_back(same(stored + "norm.weight", mixer + "o_norm.weight"));
  blueprint.links.push_back(same(stored + "out_proj.weight", mixer + "o_proj.weight"));
}

Blueprint read_qwen3_next(Config& config) {
  read_common(config);
  read_activation(config);
  const Stem stem = read_stem(config);
  refuse_experts(config, stem);
  const double eps = config.positive("rms_norm_eps", 1e-6);
  const int64_t interval = config.count("full_attention_interval", 4);
  const auto types =
      read_layer_types(config, stem, {"linear_attention", "full_attention"}, [&](int64_t layer) {
        return (layer + 1) % interval == 0 ? "full_attention" : "linear_attention";
      });
  const Json delta = read_delta(config, eps);
  Json attention = read_attention(
      config, stem.width, eps,
      {.kv_heads = 2, .head_width = 256, .rope_fraction = 0.25, .partial_rope = true});
  attention["bias"] = attention["output_bias"] = config.flag("attention_bias", false);
  attention["output_gate"] = attention["qk_norm"] = true;

  Json mixers, blocks = Json::array();
  for (const std::string& type : types) {
    const bool linear = type == "linear_attention";
    mixers[linear ? "delta" : "attention"] = linear ? delta : attention;
    blocks.push_back(Json::array({linear ? "delta" : "attention", "ffn"}));
  }
  mixers["ffn"] = {{"kind", "swiglu"}, {"hidden", config.count("intermediate_size")}};
  Blueprint blueprint;
  blueprint.model = model_section(stem, eps, mixers, blocks);
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const std::string stored = "model.layers." + std::to_string(layer) + ".";
    const std::string mix = branch_name(layer, 0), feed = branch_name(layer, 1);
    link_norm(blueprint, stored + "input_layernorm.", mix, kAroundZero);
    if (types[static_cast<size_t>(layer)] == "linear_attention") {
      link_delta(blueprint, delta, stored + "linear_attn.", mix + "mixer.");
    } else {
      link_attention(blueprint, attention, stored + "self_attn.", mix + "mixer.", kAroundZero);
    }
    link_norm(blueprint, stored + "post_attention_layernorm.", feed, kAroundZero);
    link_swiglu(blueprint, stored + "mlp.", feed + "mixer.");
  }
  link_ends(blueprint, stem, {}, kAroundZero);
  return blueprint;
}

std::optional<Json> write_qwen3_next(const Json& model) {
  Json config = write_common("Qwen3NextForCausalLM", "qwen3_next", model);
  config["rms_norm_eps"] = model.at("norm").at("eps").get<double>();
  config["intermediate_size"] = mixer_at(model, 0, 1).at("hidden");
  config["num_experts"] = config["num_experts_per_tok"] = 0;
  config["num_attention_heads"] = 1;  // of a model without attention
  Json types = Json::array();
  for (size_t layer = model.at("blocks").size(); layer-- > 0;) {
    const Json& mixer = mixer_at(model, layer, 0);
    const bool linear = mixer.at("kind") == "gated_deltanet";
    types.insert(types.begin(), linear ? "linear_attention" : "full_attention");
    if (!linear) {
      write_attention(config, mixer);
      if (!config["rope_parameters"].contains("partial_rotary_factor"))
        config["rope_parameters"]["partial_rotary_factor"] = 1;  // where it is missing: 0.25
      config["attention_bias"] = mixer.at("output_bias");
      continue;
    }
    write_delta(config, mixer);
  }
  config["layer_types"] = types;
  return config;
}

}  // namespace

std::vector<Architecture> qwen3_next_architectures() {
  return {{"Qwen3NextForCausalLM",
           "qwen3_next",
           {{"gated_deltanet", "attention"}, {"swiglu"}},
           read_qwen3_next,
           write_qwen3_next}};
}

}  // namespace echo
