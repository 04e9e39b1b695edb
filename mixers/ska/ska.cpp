#include "mixers/ska/ska.h"

#include "mixers/ska/inverse_factor.h"
#include "mixers/ska/parts.h"
#include "mixers/ska/prefix.h"
#include "mixers/ska/step.h"

#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

using at::Tensor;

namespace {

// Tokens from one new factor of G to the next while decoding.
constexpr int64_t kRenewal = 64;

}  // namespace

void SkaOptions::visit(Fields& fields) {
  fields("heads", heads, "number of heads", size_from(1));
  fields("rank", rank, "width of a head's keys and queries", size_from(1));
  fields("value_width", value_width, "width of a head's values; null: width / heads", size_from(1));
  fields("power", power, "steps from key to next key before values are read", size_from(0));
  fields("ridge", ridge, "added to the diagonal of the Gram matrix", above(0));
  fields.choice("normalisation", normalisation,
                {{"l2", Normalisation::l2}, {"sequence_max", Normalisation::sequence_max}},
                "of keys and queries: each to length 1, or all by the longest key (mode prefix)");
  fields.choice("beta", beta,
                {{"learned", Beta::learned}, {"fixed", Beta::fixed}, {"one", Beta::one}},
                "weight of a token in the statistics: a sigmoid of the token, beta_value, or 1");
  fields("beta_value", beta_value, "the weight where beta is fixed", above(0));
  fields("read_gate", read_gate, "blend, per token, with the read at power 0");
  fields("value_lag", value_lag, "pair a value with the key before its own");
  fields("eta", eta, "initial scale of the output");
  fields("gamma", gamma, "factor of each step of the power", between(1, 1.5));
  fields("learn_gamma", learn_gamma, "learn gamma, clamped to [1, 1.5]");
  fields("spectral_norm", spectral_norm,
         "divide the operator by max(1, its norm), as the paper does; the norm is below 1 anyway");
  fields.choice("mode", mode, {{"exact", Mode::exact}, {"prefix", Mode::prefix}},
                "which tokens a token reads: all up to itself, or the prefix that the task marks");
}

void SkaOptions::complete(const Place& place) {
  if (!value_width) value_width = head_width_of(place.width, heads, "value_width");
  if (normalisation == Normalisation::sequence_max && mode != Mode::prefix) {
    throw FieldError("normalisation",
                     "sequence_max divides by the longest key of the whole sequence, later tokens "
                     "included, so it is allowed with mode: prefix only; use l2");
  }
}

Ska::Ska(const SkaOptions& options, const Place& place)
    : Mixer(place),
      options_(options),
      reading_{options.power, options.value_lag, options.ridge},
      value_width_(options.value_width.value()) {
  const int64_t heads = options_.heads, rank = options_.rank;
  std::vector<LinearBlock> blocks = {{"q_proj", heads * rank, init::orthogonal()},
                                     {"k_proj", heads * rank, init::orthogonal()},
                                     {"v_proj", heads * value_width_, init::xavier_uniform()}};
  if (options_.beta == SkaOptions::Beta::learned)
    blocks.push_back({"beta_proj", heads, init::zeros(), init::constant(2)});
  projections_ =
      &child("", std::make_unique<Linear>(place.width, std::move(blocks), place.options));
  eta_ = parameter("eta", {heads}, init::constant(options_.eta), {.decay = false});
  if (options_.learn_gamma)
    gamma_ = parameter("gamma", {}, init::constant(options_.gamma), {.decay = false});
  if (options_.read_gate) {
    gate_weight_ = parameter("read_gate.weight", {heads, rank}, init::zeros(), {.decay = false});
    gate_bias_ = parameter("read_gate.bias", {heads}, init::zeros(), {.decay = false});
  }
  const LinearBlock output{"o_proj", place.width, init::normal(0.02)};
  output_ = &child("", std::make_unique<Linear>(heads * value_width_,
                                                std::vector<LinearBlock>{output}, place.options));
  traits_.stretch = options_.mode == SkaOptions::Mode::exact;
  traits_.replays = options_.mode == SkaOptions::Mode::exact;
  traits_.renewal = kRenewal;
  if (options_.mode == SkaOptions::Mode::prefix) {
    traits_.causal = false;
    traits_.starts = false;
    traits_.needs_prefix = true;
  }
}

State Ska::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  const auto kind = at::TensorOptions().dtype(statistics_dtype()).device(options.device);
  const int64_t batch = options.batch, heads = options_.heads, rank = options_.rank;
  const auto zeros = [&](at::IntArrayRef shape) { return at::zeros(shape, kind); };
  Tensor G = zeros({batch, heads, rank, rank});
  G.diagonal(0, -2, -1).fill_(options_.ridge);
  state.add("G", G);
  if (options_.power > 0) state.add("M", zeros({batch, heads, rank, rank}));
  state.add("C", zeros({batch, heads, value_width_, rank}));
  if (options_.power > 0 || options_.value_lag) state.add("z_prev", zeros({batch, heads, rank}));
  if (options_.normalisation == SkaOptions::Normalisation::sequence_max)
    state.add("norm", zeros({batch, heads}));  // 0 until the first tokens
  return state;
}

// The length of the longest key of each row and head, (B, H); a state freezes that of its first
// stretch. Padding is zero here.
Tensor Ska::key_norm(const Tensor& keys, const Span& span) const {
  Tensor norm = at::linalg_vector_norm(keys, 2, {-1}).amax(1).clamp_min(1e-6);
  if (!span.state) return norm;
  const Tensor known = span.state->get("norm");
  norm = at::where(known > 0, known, norm);
  span.state->set("norm", norm);
  return norm;
}

ska::Features Ska::features(const Tensor& x, const Span& span) const {
  std::vector<Tensor> parts = projections_->split(x);
  Tensor valid;
  if (span.lengths.defined()) {
    const Tensor pad = padding(span.lengths, x.size(1));
    valid = pad.logical_not();
    for (Tensor& part : parts) part = part.masked_fill(pad.unsqueeze(-1), 0);
  }
  const auto by_head = [&](size_t part) {  // (B, T, H, .)
    const Tensor& rows = parts[part];
    return rows.view({rows.size(0), rows.size(1), options_.heads, -1}).to(statistics_dtype());
  };
  ska::Features features;
  features.queries.rows = by_head(0);
  features.keys.rows = by_head(1);
  features.values.rows = by_head(2);
  features.values.normalise = false;
  features.starts =
      span.starts.defined() && valid.defined() ? span.starts.logical_and(valid) : span.starts;
  features.lengths = span.lengths;

  if (options_.normalisation == SkaOptions::Normalisation::sequence_max) {
    features.keys.normalise = features.queries.normalise = false;
    const Tensor scale = key_norm(features.keys.rows, span).reciprocal().unsqueeze(1);
    features.keys.weight = features.queries.weight = scale.expand({-1, x.size(1), -1});
  }
  if (options_.read_gate) add_read_gate(features);
  add_weights(features, parts);
  return features;
}

// The share of the filtered read, from the query alone; the rest is ridge regression.
void Ska::add_read_gate(ska::Features& features) const {
  const auto cast = [&](const Tensor& parameter) { return parameter.to(statistics_dtype()); };
  const Tensor logits = (ska::in_time(features.queries) * cast(gate_weight_)).sum(-1) /
                            std::sqrt(static_cast<double>(options_.rank)) +
                        cast(gate_bias_);
  features.filtered = at::sigmoid(logits).unsqueeze(-1);
  features.plain = 1 - features.filtered;
}

// sqrt(beta) of keys and values; eta and gamma^power, which scale the read, go to the queries, in
// which it is linear.
void Ska::add_weights(ska::Features& features, const std::vector<Tensor>& parts) const {
  const auto multiply = [](Tensor& weight, const Tensor& factor) {
    weight = weight.defined() ? weight * factor : factor;
  };
  const auto shape = features.keys.rows.sizes().slice(0, 3);  // (B, T, H)
  if (options_.beta != SkaOptions::Beta::one) {
    const Tensor root =
        options_.beta == SkaOptions::Beta::learned
            ? ska::root_of_sigmoid(parts[3].to(statistics_dtype()))
            : at::full(shape, std::sqrt(options_.beta_value), features.keys.rows.options());
    multiply(features.keys.weight, root);
    multiply(features.values.weight, root);
  }
  multiply(features.queries.weight, eta_.to(statistics_dtype()).expand(shape));
  const double steps = static_cast<double>(options_.power);
  Tensor& filtered = options_.read_gate ? features.filtered : features.queries.weight;
  if (options_.learn_gamma) {
    filtered = filtered * gamma_.to(statistics_dtype()).clamp(1, 1.5).pow(steps);
  } else if (options_.gamma != 1) {
    filtered = filtered * std::pow(options_.gamma, steps);
  }
}

namespace {

// Up to so many tokens are read one by one where gradients are off; more cost less as a chunk.
constexpr int64_t kSteps = 8;

// Longer stretches are read piece by piece where gradients are off: then nothing but x and y grows
// with T.
constexpr int64_t kPiece = 4096;

ska::Statistics statistics_of(const State& state) {
  return {state.get("G"), state.has("M") ? state.get("M") : Tensor(), state.get("C")};
}

// The key before the stretch; zeros where the layer needs none.
Tensor previous_of(const State& state, const ska::Statistics& statistics) {
  if (state.has("z_prev")) return state.get("z_prev");
  return at::zeros_like(statistics.G.select(-1, 0), at::MemoryFormat::Contiguous);
}

void store(State& state, const ska::Statistics& statistics, const Tensor& previous) {
  state.set("G", statistics.G);
  if (state.has("M")) state.set("M", statistics.M);
  state.set("C", statistics.C);
  if (state.has("z_prev")) state.set("z_prev", previous);
}

void keep_factor(State& state, const Tensor& factor) {
  if (state.has("factor")) state.remove("factor");
  if (factor.defined()) state.add("factor", factor, StateRole::derived);
}

}  // namespace

// What the parts of the sequence before this one have left becomes the memory.
void Ska::go_on(const ska::Earlier& earlier, State& state) const {
  const auto& [sums, last] = earlier;
  state.set("G", state.get("G") + sums.G);
  if (state.has("M")) state.set("M", sums.M.contiguous());
  state.set("C", sums.C.contiguous());
  if (state.has("z_prev")) state.set("z_prev", last.contiguous());
}

// Of a part of a sequence the sums are on their way while its queries and values are made.
Tensor Ska::read_exact(const ska::Features& features, Stretch* stretch, State& state) const {
  std::function<ska::Earlier()> earlier;
  if (stretch) earlier = ska::earlier_parts(features, reading_, *stretch);
  const int64_t length = features.keys.rows.size(1), size = std::min(length, ska::kChunk);
  ska::Chunks chunks = ska::in_chunks_without_keys(features, size);
  if (stretch) {
    const ska::Earlier arrived = earlier();
    if (stretch->rank() > 0) go_on(arrived, state);
  }
  ska::Statistics statistics = statistics_of(state);
  const Tensor previous = previous_of(state, statistics);
  chunks.keys = ska::in_chunks(features.keys, size, previous);
  const Tensor y = ska::read_exact(chunks, reading_, statistics);
  store(state, statistics, ska::last_key(chunks, length, previous, features.lengths));
  keep_factor(state, Tensor());
  return ska::join_time(y, length);
}

Tensor Ska::read_steps(const ska::Features& features, State& state) const {
  ska::StepMemory memory;
  const auto [G, M, C] = statistics_of(state);
  memory.statistics = {writable(G), writable(M), writable(C)};
  memory.previous = writable(previous_of(state, memory.statistics));
  if (state.has("factor")) memory.factor = writable(state.get("factor"));
  std::vector<Tensor> outputs;
  const int64_t length = features.keys.rows.size(1);
  for (int64_t first = 0, last = 0; first < length; first = last) {
    // Renewed at fixed positions, so that where a state was saved and loaded does not matter after
    // the next of them.
    const int64_t phase = (state.longest() + first) % kRenewal;
    if (!memory.factor.defined() || phase == 0) {
      const Tensor& gram = memory.statistics.G;
      memory.factor = ska::inverse_factor(gram.flatten(0, 1), options_.ridge).view_as(gram);
    }
    last = std::min(length, first + kRenewal - phase);
    const bool whole = first == 0 && last == length;
    outputs.push_back(
        ska::read_steps(whole ? features : ska::slice(features, first, last), reading_, memory));
  }
  store(state, memory.statistics, memory.previous);
  keep_factor(state, memory.factor);
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs, 1);
}

Tensor Ska::read_prefix(const ska::Features& features, const Tensor& prefix, State& state) const {
  ska::Statistics statistics = statistics_of(state);
  Tensor previous = previous_of(state, statistics);
  Tensor factor = state.has("factor") ? state.get("factor") : Tensor();
  const Tensor y =
      ska::read_prefix(ska::in_time(features), prefix, reading_, statistics, previous, factor);
  store(state, statistics, previous);
  keep_factor(state, factor);
  return y;
}

Tensor Ska::read(const Tensor& x, const Span& span, State& state) const {
  const bool prefix = options_.mode == SkaOptions::Mode::prefix;
  const bool steps =
      !prefix && !span.stretch && x.size(1) <= kSteps && !c10::GradMode::is_enabled();
  // For one token, asking every operator whether it belongs to a graph would cost as much as the
  // read.
  std::optional<at::AutoDispatchBelowADInplaceOrView> no_graph;
  if (steps) no_graph.emplace();
  const ska::Features features = this->features(x, span);
  Tensor y;
  if (prefix) {
    y = read_prefix(features, span.prefix, state);
  } else if (steps) {
    y = read_steps(features, state);
  } else {
    y = read_exact(features, span.stretch, state);
  }
  return (*output_)(y.flatten(2).to(x.scalar_type()));
}

Tensor Ska::forward(const Tensor& x, const Span& span) {
  const bool prefix = options_.mode == SkaOptions::Mode::prefix;
  if (prefix && !span.state && !span.prefix.defined()) {
    throw Error(
        "ska in mode prefix reads what the task marks as prefix, and this batch marks nothing; "
        "use a task that has prefixes, or mode: exact");
  }
  State empty(0);
  if (!span.state) empty = initial_state({.batch = x.size(0), .device = x.device()});
  State& state = span.state ? *span.state : empty;
  const int64_t length = x.size(1);
  if (prefix || span.stretch || length <= kPiece || c10::GradMode::is_enabled())
    return read(x, span, state);

  Tensor y = at::empty_like(x);
  for (int64_t first = 0; first < length; first += kPiece) {
    const int64_t last = std::min(first + kPiece, length);
    Span piece;
    if (span.starts.defined()) piece.starts = span.starts.slice(1, first, last);
    if (span.lengths.defined()) piece.lengths = (span.lengths - first).clamp(0, last - first);
    y.slice(1, first, last).copy_(read(x.slice(1, first, last), piece, state));
  }
  return y;
}

// Multiply-adds count as two. Exact reads as in block.cpp, decoding as in step_kernel.cpp.
int64_t Ska::flops(int64_t batch, int64_t length) const {
  const int64_t R = options_.rank, P = value_width_, K = options_.power;
  const int64_t tokens = batch * length, lag = K > 0 ? 1 : 0;
  int64_t per_head = 0;  // of one row, in multiply-adds
  if (options_.mode == SkaOptions::Mode::prefix || length <= kSteps) {
    per_head = length * ((4 + lag + 3 * K + 2) * R * R + 2 * P * R);
  } else {
    const int64_t S = std::min(length, ska::kChunk);
    const int64_t sums = (1 + lag) * S * R * R + S * P * R;
    const int64_t frame = R * R * R / 3 + lag * 2 * R * R * R + P * R * R + 2 * S * R * R +
                          2 * S * S * R + S * S * S / 3;
    const int64_t reads =
        (K + 1) * (2 * S * S * R + S * S * S) + K * (S * R * R + S * S * R) + S * P * R + S * S * P;
    per_head = (length + S - 1) / S * (sums + frame + reads);
  }
  return projections_->flops(tokens) + output_->flops(tokens) +
         2 * batch * options_.heads * per_head;
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Ska, SkaOptions>(
      "ska",
      "spectral Koopman attention: ridge regression of values on keys, with constant memory");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("ska", "0.1.0", "spectral Koopman attention", "ska", echo::load)
