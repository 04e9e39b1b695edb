#include "mixers/gla/gla.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

using at::Tensor;

namespace {

int64_t per_head(int64_t width, int64_t heads, const char* name) {
  if (width % heads != 0) {
    throw FieldError("heads", "heads is " + std::to_string(heads) + ", which does not divide " +
                                  std::to_string(width) + "; give " + name + ", or other heads");
  }
  return width / heads;
}

}  // namespace

void GlaOptions::visit(Fields& fields) {
  fields("heads", heads, "query heads", size_from(1));
  fields("kv_heads", kv_heads, "heads of keys and values, a divisor of heads; null: heads",
         size_from(1));
  fields("key_width", key_width, "dimensions of a query or key, K; null: width / 2 / heads",
         size_from(1));
  fields("value_width", value_width, "dimensions of a value, V; null: width / heads", size_from(1));
  fields("gate_normalizer", gate_normalizer, "what the log decays are divided by", above(0));
  fields("gate_rank", gate_rank, "width between the two maps of the decays", size_from(1));
  fields("gate_floor", gate_floor, "least log decay; null: none",
         Range{.high = 0, .high_open = true});
  fields("norm_eps", norm_eps, "added to the mean square in the norm of a head's output", above(0));
}

void GlaOptions::complete(const Place& place) {
  if (!kv_heads) kv_heads = heads;
  if (heads % *kv_heads != 0) {
    throw FieldError("kv_heads", "kv_heads is " + std::to_string(*kv_heads) +
                                     ", which does not divide the " + std::to_string(heads) +
                                     " heads");
  }
  if (!key_width) key_width = per_head(place.width / 2, heads, "key_width");
  if (!value_width) value_width = per_head(place.width, heads, "value_width");
}

Gla::Gla(const GlaOptions& options, const Place& place)
    : Mixer(place),
      options_(options),
      groups_(options.kv_heads.value()),
      keys_(options.key_width.value()),
      values_(options.value_width.value()) {
  traits_.stretch = true;
  traits_.replays = true;
  const auto linear = [&](int64_t inputs, std::vector<LinearBlock> blocks) {
    return &child("", std::make_unique<Linear>(inputs, std::move(blocks), place.options));
  };
  input_ = linear(place.width, {{"q_proj", options_.heads * keys_},
                                {"k_proj", groups_ * keys_},
                                {"v_proj", groups_ * values_},
                                {"g_proj", options_.heads * values_},
                                {"gk_proj.0", options_.gate_rank}});
  LinearBlock decay{"gk_proj.1", groups_ * keys_};
  decay.bias = init::zeros();
  decay_ = linear(options_.gate_rank, {decay});
  norm_ = parameter("g_norm_swish_gate.weight", {values_}, init::ones(), {.decay = false});
  output_ = linear(options_.heads * values_, {{"o_proj", place.width}});
}

State Gla::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  state.add("S", at::zeros({options.batch, options_.heads, keys_, values_},
                           at::TensorOptions().dtype(statistics_dtype()).device(options.device)));
  return state;
}

int64_t Gla::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length;
  const int64_t chunk = std::min<int64_t>(length, 64);
  const int64_t head = 2 * chunk * (keys_ + values_) + 4 * keys_ * values_;
  return input_->flops(tokens) + decay_->flops(tokens) + output_->flops(tokens) +
         tokens * options_.heads * head;
}

// (B, T, rank) -> (B, T, groups, K), at most 0
Tensor Gla::decays(const Tensor& low_rank) const {
  const Tensor raw = (*decay_)(low_rank).to(statistics_dtype());
  const Tensor g =
      at::log_sigmoid(raw).unflatten(2, {groups_, keys_}) * (1 / options_.gate_normalizer);
  return options_.gate_floor ? g.clamp_min(*options_.gate_floor) : g;
}

Tensor Gla::forward(const Tensor& x, const Span& span) {
  const std::vector<Tensor> maps = input_->split(x);
  const auto heads = [&](const Tensor& map, int64_t count) {
    return map.unflatten(2, {count, -1}).to(statistics_dtype());
  };
  const Tensor q = heads(maps[0], options_.heads) * (1 / std::sqrt(static_cast<double>(keys_)));
  const Tensor memory = span.state ? span.state->get("S") : Tensor();
  const Attended attended = gated_linear_attention(
      q, heads(maps[1], groups_), heads(maps[2], groups_), decays(maps[4]), memory, span);
  if (span.state) span.state->set("S", attended.memory);
  const Tensor o = rms_norm(attended.o, norm_, options_.norm_eps).flatten(2);
  return (*output_)(silu_multiply(maps[3].to(o.scalar_type()), o).to(x.scalar_type()));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Gla, GlaOptions>(
      "gla", "gated linear attention: a memory with a decay per channel of a key");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("gla", "0.1.0", "gated linear attention", "gla", echo::load)
