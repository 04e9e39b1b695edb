#include "mixers/linear_attention/linear_attention.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

namespace {

using FeatureMap = LinearAttentionOptions::FeatureMap;

constexpr double kSumFloor = 1e-4;  // of the sums that normalize_q and normalize_k divide by
constexpr double kDenominatorFloor = 1e-10;  // of normalize

}  // namespace

void LinearAttentionOptions::visit(Fields& fields) {
  fields("heads", heads, "query heads", size_from(1));
  fields("kv_heads", kv_heads, "heads of keys and values, a divisor of heads; null: heads",
         size_from(1));
  fields("key_width", key_width, "dimensions of a query or key; null: width / heads", size_from(1));
  fields("value_width", value_width, "dimensions of a value; null: width / heads", size_from(1));
  fields.choice(
      "feature_map", feature_map,
      {{"identity", FeatureMap::identity}, {"relu", FeatureMap::relu}, {"elu", FeatureMap::elu}},
      "of queries and keys; elu is elu(x) + 1");
  fields("normalize", normalize,
         "divide an output by the sum of its weights; not with feature_map identity");
  fields("normalize_q", normalize_q, "divide a query by the sum of its features");
  fields("normalize_k", normalize_k, "divide a key by the sum of its features");
  fields("norm_eps", norm_eps, "added to the mean square in the norm of a head's output", above(0));
}

void LinearAttentionOptions::complete(const Place& place) {
  if (!kv_heads) kv_heads = heads;
  if (heads % *kv_heads != 0) {
    throw FieldError("kv_heads", "kv_heads is " + std::to_string(*kv_heads) +
                                     ", which does not divide the " + std::to_string(heads) +
                                     " heads");
  }
  const char* instead = "key_width and value_width";
  if (!key_width) key_width = head_width_of(place.width, heads, instead);
  if (!value_width) value_width = head_width_of(place.width, heads, instead);
  if (normalize && feature_map == FeatureMap::identity) {
    throw FieldError("normalize",
                     "normalize divides by a sum of weights, which can vanish where features are "
                     "negative; take feature_map relu or elu, or normalize: false");
  }
}

LinearAttention::LinearAttention(const LinearAttentionOptions& options, const Place& place)
    : Mixer(place),
      options_(options),
      groups_(options.kv_heads.value()),
      keys_(options.key_width.value()),
      values_(options.value_width.value()) {
  traits_.stretch = true;
  traits_.replays = true;
  qkv_ = &child(
      "", std::make_unique<Linear>(place.width,
                                   std::vector<LinearBlock>{{"q_proj", options_.heads * keys_},
                                                            {"k_proj", groups_ * keys_},
                                                            {"v_proj", groups_ * values_}},
                                   place.options));
  output_ = &child("", std::make_unique<Linear>(options_.heads * values_,
                                                std::vector<LinearBlock>{{"o_proj", place.width}},
                                                place.options));
  norm_ = parameter("norm.weight", {values_}, init::ones(), {.decay = false});
}

State LinearAttention::initial_state(const StateOptions& options) const {
  const at::TensorOptions kept =
      at::TensorOptions().dtype(statistics_dtype()).device(options.device);
  const int64_t batch = options.batch;
  State state(batch, options.device);
  state.add("S", at::zeros({batch, options_.heads, keys_, values_}, kept));
  if (options_.normalize) state.add("z", at::zeros({batch, options_.heads, keys_}, kept));
  return state;
}

int64_t LinearAttention::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length;
  const int64_t chunk = std::min<int64_t>(length, 64);
  const int64_t head = 2 * chunk * (keys_ + values_) + 4 * keys_ * values_;
  return qkv_->flops(tokens) + output_->flops(tokens) + tokens * options_.heads * head;
}

// (B, T, heads K) -> (B, T, heads, K), in the dtype of statistics.
at::Tensor LinearAttention::features(const at::Tensor& part, int64_t heads, bool normalized) const {
  at::Tensor x = part.unflatten(2, {heads, keys_}).to(statistics_dtype());
  if (options_.feature_map == FeatureMap::relu) x = at::relu(x);
  if (options_.feature_map == FeatureMap::elu) x = at::elu(x) + 1;
  return normalized ? x / (x.sum(-1, true) + kSumFloor) : x;
}

at::Tensor LinearAttention::read(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Span& span) const {
  const at::Tensor memory = span.state ? span.state->get("S") : at::Tensor();
  const Attended attended = linear_attention(q, k, v, memory, span);
  if (span.state) span.state->set("S", attended.memory);
  return attended.o;
}

// A value of ones carries the sums of weights: z is one more column of S.
at::Tensor LinearAttention::read_normalized(const at::Tensor& q, const at::Tensor& k,
                                            const at::Tensor& v, const Span& span) const {
  at::Tensor memory;
  if (span.state) memory = at::cat({span.state->get("S"), span.state->get("z").unsqueeze(3)}, 3);
  const at::Tensor ones = at::ones({v.size(0), v.size(1), v.size(2), 1}, v.options());
  const Attended attended = linear_attention(q, k, at::cat({v, ones}, 3), memory, span);
  if (span.state) {
    span.state->set("S", attended.memory.narrow(3, 0, values_).contiguous());
    span.state->set("z", attended.memory.select(3, values_).contiguous());
  }
  return attended.o.narrow(3, 0, values_) / (attended.o.narrow(3, values_, 1) + kDenominatorFloor);
}

at::Tensor LinearAttention::forward(const at::Tensor& x, const Span& span) {
  const std::vector<at::Tensor> parts = qkv_->split(x);
  const at::Tensor q = features(parts[0], options_.heads, options_.normalize_q) *
                       (1 / std::sqrt(static_cast<double>(keys_)));
  const at::Tensor k = features(parts[1], groups_, options_.normalize_k);
  const at::Tensor v = parts[2].unflatten(2, {groups_, values_}).to(statistics_dtype());
  const at::Tensor o = options_.normalize ? read_normalized(q, k, v, span) : read(q, k, v, span);
  return (*output_)(rms_norm(o, norm_, options_.norm_eps).flatten(2).to(x.scalar_type()));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<LinearAttention, LinearAttentionOptions>(
      "linear_attention", "attention without softmax: a memory of constant size");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("linear_attention", "0.1.0", "linear attention", "linear_attention", echo::load)
