#include "mixers/delta_rule/delta_rule.h"

#include "mixers/delta_rule/step_kernel.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

using at::Tensor;

void DeltaRuleOptions::visit_heads(Fields& fields) {
  fields("heads", heads, "heads of queries and keys", size_from(1));
}

void DeltaRuleOptions::visit_value_heads(Fields& fields) {
  fields("value_heads", value_heads, "heads of values, a multiple of heads; null: heads",
         size_from(1));
}

void DeltaRuleOptions::visit_rest(Fields& fields) {
  fields("key_width", key_width, "dimensions of a query or key, K; null: width / heads",
         size_from(1));
  fields("value_width", value_width, "dimensions of a value, V; null: key_width", size_from(1));
  fields("kernel", kernel, "tokens that the convolutions of q, k and v see", size_from(1));
  fields("negative_eigenvalues", negative_eigenvalues,
         "steps between 0 and 2 instead of 0 and 1: what is remembered may change its sign");
  fields("norm_eps", norm_eps, "added to the mean square in the norm of a head's output", above(0));
}

void DeltaRuleOptions::complete(const Place& place) {
  const auto number = [](int64_t value) { return std::to_string(value); };
  if (!value_heads) value_heads = heads;
  if (*value_heads % heads != 0) {
    throw FieldError("value_heads", "value_heads is " + number(*value_heads) +
                                        ", which is no multiple of the " + number(heads) +
                                        " heads of keys");
  }
  if (!key_width) key_width = head_width_of(place.width, heads, "key_width");
  if (!value_width) value_width = key_width;
}

DeltaRule::DeltaRule(const DeltaRuleOptions& options, const Place& place,
                     std::vector<LinearBlock> own)
    : Mixer(place),
      heads_(options.value_heads.value()),
      key_width_(options.key_width.value()),
      value_width_(options.value_width.value()),
      options_(options) {
  traits_.stretch = true;
  traits_.replays = true;
  std::vector<LinearBlock> blocks = {
      {"q_proj", key_rows()}, {"k_proj", key_rows()}, {"v_proj", value_rows()}, {"b_proj", heads_}};
  blocks.insert(blocks.end(), own.begin(), own.end());
  input_ = &child("", std::make_unique<Linear>(place.width, std::move(blocks), place.options));
  const auto convolution = [&](const char* name, int64_t rows) {
    return parameter(name, {rows, 1, options_.kernel}, init::kaiming_uniform());
  };
  q_conv_ = convolution("q_conv1d.weight", key_rows());
  k_conv_ = convolution("k_conv1d.weight", key_rows());
  v_conv_ = convolution("v_conv1d.weight", value_rows());
  norm_ = parameter("o_norm.weight", {value_width_}, init::ones(), {.decay = false});
  output_ = &child(
      "", std::make_unique<Linear>(value_rows(), std::vector<LinearBlock>{{"o_proj", place.width}},
                                   place.options));
}

Linear& DeltaRule::second_map(const std::string& name, int64_t inputs, int64_t rows, bool bias) {
  LinearBlock block{name, rows};
  if (bias) block.bias = init::zeros();
  return child("", std::make_unique<Linear>(inputs, std::vector<LinearBlock>{block}, options()));
}

State DeltaRule::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  const auto kind = [&](at::ScalarType dtype) {
    return at::TensorOptions().dtype(dtype).device(options.device);
  };
  state.add("S",
            at::zeros({options.batch, heads_, key_width_, value_width_}, kind(statistics_dtype())));
  state.add("conv",
            at::zeros({options.batch, channels(), options_.kernel - 1}, kind(options.dtype)));
  return state;
}

int64_t DeltaRule::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length, K = key_width_, V = value_width_;
  const int64_t chunk = std::min<int64_t>(length, 64);
  const int64_t head = chunk * (K + 2 * V) + 3 * K * V;  // inverse, reads and writes
  const int64_t group = 2 * chunk * K;                   // scores
  return input_->flops(tokens) + output_->flops(tokens) + own_flops(tokens) +
         2 * tokens * (channels() * options_.kernel + heads_ * head + options_.heads * group);
}

Tensor DeltaRule::decay_rates(const Tensor& raw, const Tensor& A_log, const Tensor& dt_bias) const {
  const at::ScalarType wide = statistics_dtype();
  const Tensor rate = -A_log.to(wide).exp();
  return at::softplus(raw.to(wide) + dt_bias.to(wide)) * rate;
}

// The last inputs of the three convolutions, in one exchange.
std::optional<Arrival> DeltaRule::inputs_before(const std::vector<Tensor>& maps,
                                                const Span& span) const {
  const int64_t count = options_.kernel - 1;
  if (!span.stretch || count == 0) return std::nullopt;
  std::vector<Tensor> last;
  for (size_t i = 0; i < 3; ++i) last.push_back(Stretch::last_tokens(maps[i], count));
  return span.stretch->halo(at::cat(last, 2), count, "inputs of convolutions");
}

DeltaRule::Heads DeltaRule::convolve(const std::vector<Tensor>& maps, const Span& span,
                                     Arrival* before) const {
  const std::vector<int64_t> rows = {key_rows(), key_rows(), value_rows()};
  const Tensor weights[] = {q_conv_, k_conv_, v_conv_};
  std::vector<Tensor> memories(3), seen;
  if (span.state) memories = span.state->get("conv").split_with_sizes(rows, 1);
  if (before) memories = before->finish().transpose(1, 2).split_with_sizes(rows, 1);
  for (size_t i = 0; i < 3; ++i) {
    const Convolved convolved = causal_convolution(maps[i], weights[i], {}, memories[i], span);
    memories[i] = convolved.memory;
    seen.push_back(at::silu(convolved.y).to(statistics_dtype()));
  }
  if (span.state) span.state->set("conv", at::cat(memories, 1));
  const auto normal = [&](const Tensor& x) {
    return l2_normalize(x.unflatten(2, {options_.heads, key_width_}));
  };
  return {normal(seen[0]) * (1 / std::sqrt(static_cast<double>(key_width_))), normal(seen[1]),
          seen[2].unflatten(2, {heads_, value_width_})};
}

// The same for one token, with the convolutions' inputs written in place.
DeltaRule::Heads DeltaRule::convolve_token(const std::vector<Tensor>& maps, const Span& span,
                                           Arrival*) const {
  const Tensor memory = writable(span.state->get("conv"));
  const double scale = 1 / std::sqrt(static_cast<double>(key_width_));
  const auto part = [&](const delta_rule::Part& of, int64_t first, int64_t heads) {
    return delta_rule::convolve(of, memory, first, span.starts, span.lengths)
        .unflatten(2, {heads, -1});
  };
  Heads heads;
  heads.q = part({maps[0], q_conv_, key_width_, scale}, 0, options_.heads);
  heads.k = part({maps[1], k_conv_, key_width_, 1}, key_rows(), options_.heads);
  heads.v = part({maps[2], v_conv_}, 2 * key_rows(), heads_);
  span.state->set("conv", memory);
  return heads;
}

Tensor DeltaRule::remember(const Heads& heads, const Tensor& g, const Tensor& beta,
                           const Span& span) const {
  const Tensor memory = span.state ? span.state->get("S") : Tensor();
  const Attended attended = gated_delta_rule(heads.q, heads.k, heads.v, g, beta, memory, span);
  if (span.state) span.state->set("S", attended.memory);
  return attended.o;
}

Tensor DeltaRule::mix(const Tensor& x, const Span& span, Convolve convolve) const {
  const std::vector<Tensor> maps = input_->split(x);
  std::optional<Arrival> before = inputs_before(maps, span);
  Tensor beta = maps[3].to(statistics_dtype()).sigmoid();
  if (options_.negative_eigenvalues) beta = beta * 2;
  const std::vector<Tensor> own(maps.begin() + 4, maps.end());
  const Tensor g = decays(own);
  const Heads heads = (this->*convolve)(maps, span, before ? &*before : nullptr);
  const Tensor o = remember(heads, g, beta, span);
  const Tensor y = gate(rms_norm(o, norm_, options_.norm_eps), own);
  return (*output_)(y.to(x.scalar_type()));
}

Tensor DeltaRule::forward(const Tensor& x, const Span& span) {
  const bool one = span.state && x.size(1) == 1 && x.is_cpu() && !c10::GradMode::is_enabled() &&
                   x.scalar_type() == statistics_dtype();
  if (!one) return mix(x, span, &DeltaRule::convolve);
  // For one token, asking every operator whether it belongs to a graph costs as much as the rest.
  const at::AutoDispatchBelowADInplaceOrView no_graph;
  return mix(x, span, &DeltaRule::convolve_token);
}

}  // namespace echo
