#pragma once

#include "framework/src/import/blueprint.h"
#include "framework/src/import/config.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// What the classes of transformers have in common: fields, mixers, names of tensors.

using Json = nlohmann::ordered_json;

// Fields of every config.json that change nothing that the model computes, and those that would.
void read_common(Config& config);

// hidden_size, vocab_size, num_hidden_layers, tie_word_embeddings.
struct Stem {
  int64_t width = 0;
  int64_t vocabulary = 0;
  int64_t layers = 0;
  bool tied = false;
};
Stem read_stem(Config& config);

// The section `model`; blocks: for each layer the names of its templates.
Json model_section(const Stem& stem, double eps, const Json& mixers, const Json& blocks);

// SwiGLU is the only feed-forward layer.
void read_activation(Config& config);

// Heads, their width and rotary positions as an `attention` mixer: kind, heads, kv_heads,
// head_width, rope_theta, rope_fraction, norm_eps.
struct HeadDefaults {
  std::optional<int64_t> kv_heads;    // none: as many as heads
  std::optional<int64_t> head_width;  // none: width / heads
  double rope_fraction = 1;           // of a config that does not say
  bool partial_rope = false;          // whether the class knows fractions
  bool no_rope = false;               // whether rope_theta may be null: no positions
};
Json read_attention(Config& config, int64_t width, double eps, const HeadDefaults& defaults);

// "linear_attention" or "full_attention" (or "sliding_attention") for each layer; `otherwise`
// where config.json does not say.
std::vector<std::string> read_layer_types(Config& config, const Stem& stem,
                                          const std::vector<std::string>& allowed,
                                          const std::function<std::string(int64_t)>& otherwise);

// "blocks.3.1."
std::string branch_name(int64_t layer, int64_t branch);

// Links of whole pieces. `stored` and `branch` end in a dot.
void link_norm(Blueprint& blueprint, const std::string& stored, const std::string& branch,
               double offset = 0);
void link_attention(Blueprint& blueprint, const Json& attention, const std::string& stored,
                    const std::string& mixer, double norm_offset = 0);
void link_swiglu(Blueprint& blueprint, const std::string& stored, const std::string& mixer);
// One convolution over all queries, then keys, then values.
void link_fused_convolution(Blueprint& blueprint, const std::string& stored,
                            const std::string& mixer, int64_t keys, int64_t values);
struct EndNames {
  std::string embedding = "model.embed_tokens.weight";
  std::string norm = "model.norm.weight";
  std::string head = "lm_head.weight";
};
void link_ends(Blueprint& blueprint, const Stem& stem, const EndNames& names = {},
               double norm_offset = 0);

// For writing. The mixer of a branch, by its place in model_json().
const Json& mixer_at(const Json& model, size_t layer, size_t branch);

// Class, type, stem, eps and what every class says; model: see model_json().
Json write_common(const char* name, const char* type, const Json& model);
void write_attention(Json& config, const Json& attention);
void write_delta(Json& config, const Json& delta);  // linear_num_key_heads, ...

}  // namespace echo
