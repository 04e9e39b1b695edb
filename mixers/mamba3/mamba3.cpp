#include "mixers/mamba3/mamba3.h"

#include "mixers/mamba3/step_kernel.h"

#include <echo/error.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>
#include <echo/stretch.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

using at::Tensor;

namespace {

constexpr double kNormEps = 1e-5;

}  // namespace

void Mamba3Options::visit(Fields& fields) {
  fields("expand", expand, "inner width / width of the model", size_from(1));
  fields("head_width", head_width, "inner channels of a head, P", size_from(1));
  fields("state", state, "numbers that an inner channel remembers, N; even", size_from(2));
  fields("groups", groups, "groups of heads that share B and C, a divisor of the heads",
         size_from(1));
  fields("rope_fraction", rope_fraction, "share of the state that turns: 0.5 or 1",
         between(0.5, 1));
  fields("mimo_rank", mimo_rank, "inputs and outputs of a head per token, R; 0: one, without maps",
         size_from(0));
  fields("output_norm", output_norm, "norm of a head's output before the gate");
  fields.choice("a_activation", a_activation,
                {{"heavy", Activation::heavy}, {"softplus", Activation::softplus}},
                "of the decay: 1 + u above 0, 1 / (1 - u) below; or softplus, as before June 2026");
  fields("a_floor", a_floor, "least decay per unit of time", above(0));
}

void Mamba3Options::complete(const Place& place) {
  const int64_t inner = expand * place.width;
  const auto number = [](int64_t value) { return std::to_string(value); };
  if (inner % head_width != 0) {
    throw FieldError("head_width", "head_width " + number(head_width) +
                                       " does not divide the inner width " + number(inner) + " (" +
                                       number(expand) + " x " + number(place.width) +
                                       "); choose a divisor of it");
  }
  const int64_t heads = inner / head_width;
  if (heads % groups != 0) {
    throw FieldError("groups", "groups is " + number(groups) + ", which does not divide the " +
                                   number(heads) + " heads (inner width " + number(inner) +
                                   " / head_width " + number(head_width) + ")");
  }
  if (state % 2 != 0)
    throw FieldError("state", "state is " + number(state) + "; pairs turn, so it must be even");
  if (rope_fraction != 0.5 && rope_fraction != 1)
    throw FieldError("rope_fraction",
                     "rope_fraction is 0.5 or 1: the share of the state that turns");
  if (rope_fraction == 0.5 && state % 4 != 0) {
    throw FieldError("state", "state is " + number(state) +
                                  "; with rope_fraction 0.5 half of its pairs turn, so it must be "
                                  "a multiple of 4");
  }
}

// What the tokens of a stretch say; in the dtype of statistics.
struct Mamba3::Tokens {
  Tensor z, x;       // (B, T, H, P)
  Tensor dt;         // (B, T, H): 0 at padding
  Tensor decay;      // (B, T, H): dt A
  Tensor now, late;  // (B, T, H): weights lam dt of the token and (1 - lam) dt of the one before
  Tensor b, c;       // (B, T, R, H, N): keys and queries, turned
  Tensor angles;     // (B, T, H, A)
  // The token before the stretch, x (B, H, P) and key (B, R, H, N); undefined: none is known.
  Tensor x_before, b_before;
};

Mamba3::Mamba3(const Mamba3Options& options, const Place& place)
    : Mixer(place),
      options_(options),
      inner_(options.expand * place.width),
      heads_(inner_ / options.head_width),
      ranks_(std::max<int64_t>(1, options.mimo_rank)),
      angles_(static_cast<int64_t>(options.rope_fraction * static_cast<double>(options.state)) / 2),
      pairing_(options.mimo_rank > 0 ? mamba3::Pairing::halves : mamba3::Pairing::neighbours) {
  traits_.stretch = true;
  traits_.replays = true;
  const int64_t N = options_.state, P = options_.head_width;
  const auto linear = [&](const char* name, int64_t inputs, int64_t rows) {
    const LinearBlock block{name, rows, init::kaiming_uniform()};
    return &child("",
                  std::make_unique<Linear>(inputs, std::vector<LinearBlock>{block}, place.options));
  };
  input_ = linear("in_proj", place.width,
                  2 * inner_ + 2 * ranks_ * options_.groups * N + 3 * heads_ + angles_);
  dt_bias_ = parameter("dt_bias", {heads_}, init::time_step_bias(), {.decay = false});
  D_ = parameter("D", {heads_}, init::ones(), {.decay = false});
  B_norm_ = parameter("B_norm.weight", {N}, init::ones(), {.decay = false});
  C_norm_ = parameter("C_norm.weight", {N}, init::ones(), {.decay = false});
  B_bias_ = parameter("B_bias", {heads_, ranks_, N}, init::ones(), {.decay = false});
  C_bias_ = parameter("C_bias", {heads_, ranks_, N}, init::ones(), {.decay = false});
  if (options_.mimo_rank > 0) {
    const double share = 1 / static_cast<double>(ranks_);
    mimo_x_ = parameter("mimo_x", {heads_, ranks_, P}, init::constant(share));
    mimo_z_ = parameter("mimo_z", {heads_, ranks_, P}, init::ones());
    mimo_o_ = parameter("mimo_o", {heads_, ranks_, P}, init::constant(share));
  }
  if (options_.output_norm)
    norm_ = parameter("norm.weight", {inner_}, init::ones(), {.decay = false});
  output_ = linear("out_proj", inner_, place.width);
}

State Mamba3::initial_state(const StateOptions& options) const {
  const int64_t batch = options.batch, N = options_.state, P = options_.head_width;
  const auto zeros = [&](at::IntArrayRef shape, at::ScalarType dtype) {
    return at::zeros(shape, at::TensorOptions().dtype(dtype).device(options.device));
  };
  State state(batch, options.device);
  state.add("ssm", zeros({batch, heads_, P, N}, statistics_dtype()));
  state.add("k", zeros({batch, ranks_, heads_, N}, options.dtype));
  state.add("x", zeros({batch, heads_, P}, options.dtype));
  state.add("angle", zeros({batch, heads_, angles_}, statistics_dtype()));
  return state;
}

int64_t Mamba3::flops(int64_t batch, int64_t length) const {
  const int64_t tokens = batch * length, P = options_.head_width, N = options_.state;
  const int64_t rows = std::min<int64_t>(length * ranks_, 64);
  const int64_t scan = ranks_ * (rows * (N + P) + 2 * N * P);  // per token and head
  return input_->flops(tokens) + output_->flops(tokens) + 2 * tokens * heads_ * scan;
}

// dt A < 0 of the raw decay, without dt.
Tensor Mamba3::decays(const Tensor& raw) const {
  const Tensor rate = options_.a_activation == Mamba3Options::Activation::softplus
                          ? at::softplus(raw)
                          : at::where(raw >= 0, 1 + raw, (1 - raw.clamp_max(0)).reciprocal());
  return -rate.clamp_min(options_.a_floor);
}

// The keys and queries of the tokens, b and c (B, T, R, G, N); `angle` (B, T, A) is raw.
void Mamba3::turn(Tokens& tokens, const Tensor& b, const Tensor& c, const Tensor& angle,
                  const Span& span) const {
  const Tensor steps =
      (M_PI * at::tanh(angle)).unsqueeze(2) * tokens.dt.unsqueeze(3);  // (B, T, H, A)
  const Tensor before = span.state ? span.state->get("angle") : Tensor();
  tokens.angles = mamba3::running_angles(steps, before, span.starts);
  const Tensor b_normed = rms_norm(b, B_norm_, kNormEps);
  if (span.stretch) go_on(tokens, b_normed, span);
  if (span.state) {
    tokens.x_before = span.state->get("x").to(statistics_dtype());
    tokens.b_before = span.state->get("k").to(statistics_dtype());
  }
  const Tensor cosine = at::cos(tokens.angles), sine = at::sin(tokens.angles);
  const auto turned = [&](const Tensor& rows, const Tensor& bias) {
    return mamba3::turned(rows, bias.to(rows.scalar_type()), cosine, sine, pairing_);
  };
  tokens.b = turned(b_normed, B_bias_);
  tokens.c = turned(rms_norm(c, C_norm_, kNormEps), C_bias_);
}

// A part of a sequence: the angle at its end, its last x and, not yet turned, key go to the parts
// behind it, in one exchange; here the angles go on, and the token before is turned by that from
// which they do.
void Mamba3::go_on(Tokens& tokens, const Tensor& b, const Span& span) const {
  Stretch& stretch = *span.stretch;
  const auto last = [](const Tensor& rows) { return rows.select(1, rows.size(1) - 1).flatten(1); };
  const std::vector<Tensor> own = {last(tokens.angles), last(tokens.x), last(b)};
  const Tensor parts = stretch.gather(at::cat(own, 1), "angles and the last token").finish();
  const auto part = [&](int64_t first, int64_t count) { return parts.narrow(2, first, count); };
  const int64_t angles = own[0].size(1), width = own[1].size(1);
  const Tensor before =
      stretch.sum_before(part(0, angles)).view({-1, heads_, angles_});  // (B, H, A)
  const Tensor reached = span.starts.defined()
                             ? before.unsqueeze(1).masked_fill(
                                   (span.starts.cumsum(1) != 0).unsqueeze(2).unsqueeze(3), 0)
                             : before.unsqueeze(1);
  tokens.angles = (tokens.angles + reached).remainder(2 * M_PI);
  const int64_t earlier = std::max<int64_t>(0, stretch.rank() - 1);
  // The first part's own last token; its document has none before it.
  const Tensor none = (stretch.position() == 0).unsqueeze(1);
  const auto of_last = [&](int64_t first, int64_t count) {
    return part(first, count)[earlier].masked_fill(none, 0);
  };
  tokens.x_before = of_last(angles, width).view({-1, heads_, options_.head_width});
  const Tensor b_last = of_last(angles + width, own[2].size(1))
                            .view({-1, 1, ranks_, options_.groups, options_.state});
  const Tensor angle = before.unsqueeze(1);
  tokens.b_before =
      mamba3::turned(b_last, B_bias_.to(b.scalar_type()), at::cos(angle), at::sin(angle), pairing_)
          .squeeze(1);
}

Mamba3::Tokens Mamba3::tokens(const Tensor& x, const Span& span) const {
  const int64_t rows = ranks_ * options_.groups * options_.state;
  const std::vector<Tensor> parts = (*input_)(x).split_with_sizes(
      {inner_, inner_, rows, rows, heads_, heads_, heads_, angles_}, 2);
  const auto part = [&](size_t i) { return parts[i].to(statistics_dtype()); };
  const auto heads = [&](size_t i) { return part(i).unflatten(2, {heads_, options_.head_width}); };
  const auto groups = [&](size_t i) {
    return part(i).unflatten(2, {ranks_, options_.groups, options_.state});
  };
  Tokens tokens;
  tokens.z = heads(0);
  tokens.x = heads(1);
  tokens.dt = at::softplus(part(4) + dt_bias_.to(statistics_dtype()));
  if (span.lengths.defined()) {
    tokens.dt = tokens.dt.masked_fill(padding(span.lengths, x.size(1)).unsqueeze(2), 0);
  }
  tokens.decay = tokens.dt * decays(part(5));
  const Tensor lam = at::sigmoid(part(6));
  tokens.now = lam * tokens.dt;
  tokens.late = tokens.dt - tokens.now;
  if (span.starts.defined()) tokens.late = tokens.late.masked_fill(span.starts.unsqueeze(2), 0);
  turn(tokens, groups(2), groups(3), part(7), span);
  return tokens;
}

// (B, T, H, P) -> (B, T, R, H, P), times weight (H, R, P) where there is one.
Tensor Mamba3::by_rank(const Tensor& heads, const Tensor& weight) const {
  const Tensor rows = heads.unsqueeze(2);
  return weight.defined() ? rows * weight.transpose(0, 1).to(heads.scalar_type()) : rows;
}

namespace {

// The last valid token of `rows` (B, T, ...), else `before`; lengths (B) or undefined.
Tensor last_of(const Tensor& rows, const Tensor& before, const Tensor& lengths) {
  if (!lengths.defined()) return rows.select(1, rows.size(1) - 1).to(before.scalar_type()).clone();
  std::vector<int64_t> shape(static_cast<size_t>(rows.dim()), 1);
  shape[0] = rows.size(0);
  std::vector<int64_t> one = rows.sizes().vec();
  one[1] = 1;
  const Tensor index = (lengths - 1).clamp_min(0).view(shape).expand(one);
  shape.pop_back();
  return at::where((lengths > 0).view(shape), rows.gather(1, index).squeeze(1), before)
      .to(before.scalar_type());
}

}  // namespace

void Mamba3::store(const Tokens& tokens, const Tensor& memory, const Span& span) const {
  State& state = *span.state;
  state.set("ssm", memory);
  for (const auto& [name, rows] :
       {std::pair{"k", tokens.b}, std::pair{"x", tokens.x}, std::pair{"angle", tokens.angles}})
    state.set(name, last_of(rows, state.get(name), span.lengths));
}

// A token enters with its own weight and that which the next one gives it. The second is not for
// itself to read, so what a token reads of itself is added here. -> (B, T, R, H, P)
Tensor Mamba3::scan(const Tokens& tokens, const Span& span) const {
  const int64_t length = tokens.x.size(1);
  const Tensor next = at::constant_pad_nd(tokens.late.narrow(1, 1, length - 1), {0, 0, 0, 1});
  const auto for_rows = [](const Tensor& weight) { return weight.unsqueeze(2).unsqueeze(4); };
  const Tensor x = by_rank(tokens.x, mimo_x_);
  Tensor memory;
  if (tokens.x_before.defined()) {
    const Tensor late = tokens.late.select(1, 0).unsqueeze(2);
    const Tensor before =
        (by_rank(tokens.x_before.unsqueeze(1), mimo_x_).squeeze(1) * late.unsqueeze(1))
            .transpose(1, 2);  // (B, H, R or 1, P)
    memory = at::matmul(before.mT(), tokens.b_before.transpose(1, 2));
  }
  if (span.state) memory = memory + span.state->get("ssm").to(statistics_dtype());
  const Scanned scanned = state_space_scan(x * for_rows(tokens.now + next), tokens.decay, tokens.b,
                                           tokens.c, memory, span, OwnToken::skipped);
  if (span.state) store(tokens, scanned.memory, span);
  const Tensor own = x * for_rows(tokens.now);
  if (ranks_ == 1) return scanned.y + (tokens.b * tokens.c).sum(-1, true) * own;
  const Tensor scores = at::matmul(tokens.c.transpose(2, 3), tokens.b.transpose(2, 3).mT());
  return scanned.y + at::matmul(scores, own.transpose(2, 3)).transpose(2, 3);  // (B, T, H, R, R)
}

// (B, T, R, H, P) -> (B, T, d_in)
Tensor Mamba3::gate(const Tensor& y, const Tensor& z) const {
  const Tensor gates = by_rank(z, mimo_z_);
  Tensor rows = y;
  if (options_.output_norm) {
    rows = rms_norm(rows, Tensor(), kNormEps) *
           norm_.to(y.scalar_type()).view({heads_, options_.head_width});
  }
  rows = silu_multiply(gates, rows);
  if (mimo_o_.defined()) rows = rows * mimo_o_.transpose(0, 1).to(y.scalar_type());
  return rows.sum(2).flatten(2);
}

Tensor Mamba3::step(const Tensor& projected, State& state, const Span& span) const {
  const mamba3::Layer layer{
      dt_bias_,         D_,
      B_norm_,          C_norm_,
      B_bias_,          C_bias_,
      mimo_x_,          mimo_z_,
      mimo_o_,          norm_,
      options_.groups,  options_.a_activation == Mamba3Options::Activation::softplus,
      options_.a_floor, kNormEps,
      pairing_};
  const mamba3::StepMemory memory{writable(state.get("ssm")), writable(state.get("k")),
                                  writable(state.get("x")), writable(state.get("angle"))};
  const Tensor y = mamba3::step(layer, projected, memory, span.starts, span.lengths);
  state.set("ssm", memory.ssm);
  state.set("k", memory.k);
  state.set("x", memory.x);
  state.set("angle", memory.angle);
  return y;
}

Tensor Mamba3::forward(const Tensor& x, const Span& span) {
  const bool one = span.state && x.size(1) == 1 && x.is_cpu() && !c10::GradMode::is_enabled() &&
                   x.scalar_type() == statistics_dtype();
  if (one) {
    // For one token, asking every operator whether it belongs to a graph costs as much as the rest.
    const at::AutoDispatchBelowADInplaceOrView no_graph;
    return (*output_)(step((*input_)(x), *span.state, span));
  }
  const Tokens tokens = this->tokens(x, span);
  const Tensor skip = D_.to(statistics_dtype()).unsqueeze(1);  // (H, 1)
  const Tensor y = at::addcmul(scan(tokens, span), by_rank(tokens.x, mimo_x_), skip);
  return (*output_)(gate(y, tokens.z).to(x.scalar_type()));
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Mamba3, Mamba3Options>(
      "mamba3", "state space model with a trapezoidal rule, rotation, and MIMO");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("mamba3", "0.1.0", "Mamba-3, a selective state space model", "mamba3", echo::load)
