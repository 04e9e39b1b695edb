#include "mixers/mamba2/mamba2.h"

#include "mixers/mamba2/step_kernel.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>
#include <echo/stretch.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

using at::Tensor;

void Mamba2Options::visit(Fields& fields) {
  fields("expand", expand, "inner width / width of the model, as 2 or 1.5",
         {.low = 0, .high = 1 << 20, .low_open = true});
  fields("head_width", head_width, "inner channels of a head, P", size_from(1));
  fields("state", state, "numbers that an inner channel remembers, N", size_from(1));
  fields("groups", groups, "groups of heads that share B and C, a divisor of the heads",
         size_from(1));
  fields("kernel", kernel, "tokens that the convolution before x, B and C sees", size_from(1));
  fields("bias", bias, "of in_proj and out_proj");
  fields("conv_bias", conv_bias, "of the convolution");
  fields("dt_limit", dt_limit, "least and largest time step; null: no end", at_least(0));
  fields("norm", norm, "an RMS norm over each group's channels before out_proj");
  fields("norm_eps", norm_eps, "added to the mean square in that norm", above(0));
}

int64_t Mamba2Options::inner_width(int64_t width) const {
  return std::llround(expand * static_cast<double>(width));
}

void Mamba2Options::complete(const Place& place) {
  const auto number = [](int64_t value) { return std::to_string(value); };
  constexpr double kRounding = 1e-6;  // of a ratio like 4/3
  const int64_t inner = inner_width(place.width);
  const double product = expand * static_cast<double>(place.width);
  if (inner < 1 || std::abs(product - static_cast<double>(inner)) > kRounding) {
    std::ostringstream text;
    text << "expand " << expand << " makes no inner width of " << place.width
         << " channels; choose a ratio whose product with " << place.width
         << " is a whole number, as 2 or 1.5";
    throw FieldError("expand", text.str());
  }
  if (inner % head_width != 0) {
    throw FieldError("head_width", "head_width " + number(head_width) +
                                       " does not divide the inner width " + number(inner) +
                                       " (expand x " + number(place.width) +
                                       "); choose a divisor of it");
  }
  const int64_t heads = inner / head_width;
  if (heads % groups != 0) {
    throw FieldError("groups", "groups is " + number(groups) + ", which does not divide the " +
                                   number(heads) + " heads (inner width " + number(inner) +
                                   " / head_width " + number(head_width) + ")");
  }
  if (dt_limit.size() != 2 || !(dt_limit[0] <= dt_limit[1])) {
    throw FieldError("dt_limit",
                     "dt_limit is a least and a largest time step, as in [0, null] or [1e-3, 0.1]");
  }
}

Mamba2::Mamba2(const Mamba2Options& options, const Place& place)
    : Mixer(place),
      options_(options),
      inner_(options.inner_width(place.width)),
      heads_(inner_ / options.head_width),
      channels_(inner_ + 2 * options.groups * options.state) {
  traits_.stretch = true;
  traits_.replays = true;
  const auto linear = [&](const char* name, int64_t inputs, int64_t rows, double scale) {
    const double bound = scale / std::sqrt(static_cast<double>(inputs));
    LinearBlock block{name, rows, init::uniform(-bound, bound)};
    if (options_.bias) block.bias = init::zeros();
    return &child("",
                  std::make_unique<Linear>(inputs, std::vector<LinearBlock>{block}, place.options));
  };
  input_ = linear("in_proj", place.width, inner_ + channels_ + heads_, 1);
  const double bound = 1 / std::sqrt(static_cast<double>(options_.kernel));
  conv_weight_ =
      parameter("conv1d.weight", {channels_, 1, options_.kernel}, init::uniform(-bound, bound));
  if (options_.conv_bias) {
    conv_bias_ =
        parameter("conv1d.bias", {channels_}, init::uniform(-bound, bound), {.decay = false});
  }
  dt_bias_ = parameter("dt_bias", {heads_}, init::time_step_bias(), {.decay = false});
  A_log_ = parameter("A_log", {heads_}, init::log_of_uniform(1, 16), {.decay = false});
  D_ = parameter("D", {heads_}, init::ones(), {.decay = false});
  if (options_.norm) norm_ = parameter("norm.weight", {inner_}, init::ones(), {.decay = false});
  output_ =
      linear("out_proj", inner_, place.width, 1 / std::sqrt(static_cast<double>(place.layers)));
}

State Mamba2::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  const auto kind = [&](at::ScalarType dtype) {
    return at::TensorOptions().dtype(dtype).device(options.device);
  };
  state.add("ssm", at::zeros({options.batch, heads_, options_.head_width, options_.state},
                             kind(statistics_dtype())));
  state.add("conv",
            at::zeros({options.batch, channels_, options_.kernel - 1}, kind(options.dtype)));
  return state;
}

int64_t Mamba2::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length, P = options_.head_width, N = options_.state;
  const int64_t chunk = std::min<int64_t>(length, 64);
  const int64_t scan = chunk * options_.groups * N + heads_ * (chunk * P + 2 * N * P);
  return input_->flops(tokens) + output_->flops(tokens) +
         2 * tokens * (channels_ * options_.kernel + scan);
}

// x, B and C of every token, (B, T, channels). before: the inputs before them, on their way.
Tensor Mamba2::convolve(const Tensor& xBC, const Span& span, Arrival* before) const {
  Tensor memory = span.state ? span.state->get("conv") : Tensor();
  if (before) memory = before->finish().transpose(1, 2);
  const Convolved convolved = causal_convolution(xBC, conv_weight_, conv_bias_, memory, span);
  if (span.state) span.state->set("conv", convolved.memory);
  return at::silu(convolved.y);
}

// (B, T, H)
Tensor Mamba2::time_steps(const Tensor& raw) const {
  const Tensor dt = at::softplus(raw.to(statistics_dtype()) + dt_bias_.to(statistics_dtype()));
  const double low = options_.dt_limit[0], high = options_.dt_limit[1];
  if (low == 0 && std::isinf(high)) return dt;
  return std::isinf(high) ? dt.clamp_min(low) : dt.clamp(low, high);
}

// What the heads remember and read, (B, T, d_in), without the skip.
Tensor Mamba2::scan(const Tensor& xBC, const Tensor& dt, const Span& span) const {
  const int64_t G = options_.groups, N = options_.state;
  const std::vector<Tensor> parts = xBC.split_with_sizes({inner_, G * N, G * N}, 2);
  const auto rows = [&](const Tensor& part, int64_t heads) {  // (B, T, 1, heads, .)
    return part.to(statistics_dtype()).unflatten(2, {1, heads, -1});
  };
  const Tensor x = rows(parts[0], heads_);
  const Tensor a = dt * -A_log_.to(statistics_dtype()).exp();
  const Tensor memory = span.state ? span.state->get("ssm") : Tensor();
  const Scanned scanned = state_space_scan(x * dt.unsqueeze(2).unsqueeze(4), a, rows(parts[1], G),
                                           rows(parts[2], G), memory, span);
  if (span.state) span.state->set("ssm", scanned.memory);
  const Tensor skip = D_.to(statistics_dtype()).unsqueeze(1);  // (H, 1)
  return at::addcmul(scanned.y, x, skip).flatten(2);
}

// The gate first, then the norm, over each group's channels.
Tensor Mamba2::gate_and_norm(const Tensor& y, const Tensor& z) const {
  const Tensor gated = silu_multiply(z.to(y.scalar_type()), y);
  if (!options_.norm) return gated;
  if (options_.groups == 1) return rms_norm(gated, norm_, options_.norm_eps);
  const Tensor normed =
      rms_norm(gated.unflatten(2, {options_.groups, -1}), Tensor(), options_.norm_eps);
  return normed.flatten(2) * norm_.to(y.scalar_type());
}

Tensor Mamba2::step(const Tensor& projected, const Span& span) const {
  const Tensor conv = writable(span.state->get("conv")), ssm = writable(span.state->get("ssm"));
  const mamba2::Layer layer{conv_weight_,
                            conv_bias_,
                            dt_bias_,
                            A_log_,
                            D_,
                            norm_,
                            options_.groups,
                            options_.dt_limit[0],
                            options_.dt_limit[1],
                            options_.norm_eps};
  const Tensor y = mamba2::step(layer, projected, conv, ssm, span.starts, span.lengths);
  span.state->set("conv", conv);
  span.state->set("ssm", ssm);
  return y;
}

Tensor Mamba2::forward(const Tensor& x, const Span& span) {
  const bool one = span.state && x.size(1) == 1 && x.is_cpu() && !c10::GradMode::is_enabled() &&
                   x.scalar_type() == statistics_dtype();
  if (one) {
    // For one token, asking every operator whether it belongs to a graph costs as much as the rest.
    const at::AutoDispatchBelowADInplaceOrView no_graph;
    return (*output_)(step((*input_)(x), span));
  }
  const std::vector<Tensor> parts =
      (*input_)(x).split_with_sizes({inner_, channels_, heads_}, 2);  // z, xBC, dt
  std::optional<Arrival> before;
  if (span.stretch && options_.kernel > 1)
    before = span.stretch->halo(parts[1], options_.kernel - 1, "inputs of a convolution");
  const Tensor dt = time_steps(parts[2]);
  const Tensor y = scan(convolve(parts[1], span, before ? &*before : nullptr), dt, span);
  return (*output_)(gate_and_norm(y, parts[0]).to(x.scalar_type()));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Mamba2, Mamba2Options>(
      "mamba2", "selective state space model with a scalar decay per head");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("mamba2", "0.1.0", "Mamba-2, a selective state space model", "mamba2", echo::load)
