#include "framework/src/import/architecture.h"
#include "framework/src/import/mamba2_fields.h"
#include "framework/src/import/pieces.h"

namespace echo {

namespace {

constexpr Mamba2Fields kFields{.heads = "num_heads",
                               .head_width = "head_dim",
                               .state = "state_size",
                               .groups = "n_groups",
                               .kernel = "conv_kernel",
                               .expand = "expand",
                               .bias = "use_bias",
                               .conv_bias = "use_conv_bias",
                               .default_groups = 8,
                               .default_state = 128};

Blueprint read_mamba2(Config& config) {
  read_common(config);
  read_activation(config);
  // Of initial values, kernels and precisions other than float32.
  config.ignore({"chunk_size", "time_step_rank", "time_step_min", "time_step_max",
                 "time_step_floor", "rescale_prenorm_residual", "residual_in_fp32",
                 "A_initializer_range", "time_step_init_scheme", "time_step_scale"});
  config.ignore({"norm_before_gate"});  // the class reads it nowhere
  config.only("rms_norm", {true}, "Echo's Mamba-2 has a norm before its output");
  const Stem stem = read_stem(config);
  if (const Json* inner = config.find("intermediate_size");
      inner && *inner != config.count("expand", 2) * stem.width)
    config.refuse("intermediate_size", "it is not expand * hidden_size");
  const double eps = config.positive("layer_norm_epsilon", 1e-5);
  const Json mixer = read_mamba2_mixer(config, kFields, stem.width, eps);

  Json blocks = Json::array();
  for (int64_t layer = 0; layer < stem.layers; ++layer) blocks.push_back(Json::array({"mamba"}));
  Blueprint blueprint;
  blueprint.model = model_section(stem, eps, {{"mamba", mixer}}, blocks);
  for (int64_t layer = 0; layer < stem.layers; ++layer) {
    const std::string stored = "backbone.layers." + std::to_string(layer) + ".";
    link_norm(blueprint, stored + "norm.", branch_name(layer, 0));
    link_mamba2(blueprint, mixer, stored + "mixer.", branch_name(layer, 0) + "mixer.");
  }
  link_ends(blueprint, stem,
            {.embedding = "backbone.embeddings.weight", .norm = "backbone.norm_f.weight"});
  for (Link& link : blueprint.links) {
    if (link.stored == "backbone.embeddings.weight")
      link.aliases = {"backbone.embedding.weight"};  // as mamba_ssm calls it
  }
  return blueprint;
}

std::optional<Json> write_mamba2(const Json& model) {
  const Json& mixer = mixer_at(model, 0, 0);
  Json config = write_common("Mamba2ForCausalLM", "mamba2", model);
  config["layer_norm_epsilon"] = model.at("norm").at("eps").get<double>();
  write_mamba2_mixer(config, kFields, mixer, model.at("width").get<int64_t>());
  config["chunk_size"] = 64;
  return config;
}

}  // namespace

std::vector<Architecture> mamba2_architectures() {
  return {{"Mamba2ForCausalLM", "mamba2", {{"mamba2"}}, read_mamba2, write_mamba2}};
}

}  // namespace echo
