#include "mixers/attention/attention.h"

#include "mixers/attention/blocks.h"
#include "mixers/attention/cache.h"

#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/sizes.h>
#include <echo/stretch.h>

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

constexpr int64_t kFirstCapacity = 64;  // tokens, where nobody says how many will come

// Dimensions of a head that rotary positions turn.
int64_t rotary_width(const AttentionOptions& options) {
  return static_cast<int64_t>(
      std::lround(options.rope_fraction * static_cast<double>(options.head_width.value())));
}

std::string text(int64_t number) { return std::to_string(number); }

// A start at the first token of a stretch with an empty memory cuts nothing.
bool cuts(const Span& span, bool empty) {
  if (!span.starts.defined()) return false;
  for (const auto& row : span.offsets->starts) {
    for (const int64_t t : row) {
      if (t > 0 || !empty) return true;
    }
  }
  return false;
}

}  // namespace

void AttentionOptions::visit(Fields& fields) {
  fields("heads", heads, "query heads", size_from(1));
  fields("kv_heads", kv_heads, "heads of keys and values, a divisor of heads; null: heads",
         size_from(1));
  fields("head_width", head_width, "dimensions of a head; null: width / heads", size_from(1));
  fields("rope_theta", rope_theta, "base of the rotary positions' wavelengths; null: no positions",
         above(0));
  fields("rope_fraction", rope_fraction, "part of a head that rotary positions turn",
         Range{.low = 0, .high = 1, .low_open = true});
  fields("window", window, "tokens that a token reads, itself included; null: all", count_from(1));
  fields("bias", bias, "biases of queries, keys and values");
  fields("output_bias", output_bias, "bias of the output");
  fields("output_gate", output_gate, "multiply each head's output by a sigmoid gate");
  fields("qk_norm", qk_norm, "rms norms of queries and keys, before the positions");
  fields.choice("qk_norm_over", qk_norm_over, {{"head", NormSpan::head}, {"all", NormSpan::all}},
                "what these norms take the mean over: each head, or all heads together");
  fields("norm_eps", norm_eps, "added to the mean square in these norms", above(0));
}

void AttentionOptions::complete(const Place& place) {
  if (!kv_heads) kv_heads = heads;
  if (heads % *kv_heads != 0) {
    throw FieldError("kv_heads", "kv_heads is " + text(*kv_heads) + ", which does not divide the " +
                                     text(heads) + " heads");
  }
  if (!head_width) head_width = head_width_of(place.width, heads, "head_width");
  if (!rope_theta) return;
  const int64_t turned = rotary_width(*this);
  if (turned < 2 || turned % 2 != 0) {
    throw FieldError("rope_fraction",
                     "rotary positions turn pairs, and this fraction of a head's " +
                         text(*head_width) + " dimensions is " + text(turned) +
                         "; make it an even number, or rope_theta null");
  }
}

Attention::Attention(const AttentionOptions& options, const Place& place)
    : Mixer(place),
      options_(options),
      width_(place.width),
      groups_(options.kv_heads.value()),
      head_width_(options.head_width.value()) {
  traits_.memory = options_.window ? Memory::constant : Memory::growing;
  traits_.stretch = true;
  traits_.replays = true;
  const int64_t heads = options_.heads;
  const auto bias = [](bool wanted) {
    return wanted ? std::optional<init::Initializer>(init::zeros()) : std::nullopt;
  };
  const auto block = [&](const char* name, int64_t rows) {
    return LinearBlock{name, rows, init::normal(0.02), bias(options_.bias)};
  };
  const int64_t query_rows = heads * head_width_ * (options_.output_gate ? 2 : 1);
  qkv_ = &child(
      "", std::make_unique<Linear>(width_,
                                   std::vector<LinearBlock>{block("q_proj", query_rows),
                                                            block("k_proj", groups_ * head_width_),
                                                            block("v_proj", groups_ * head_width_)},
                                   place.options));
  const LinearBlock output{"o_proj", width_, init::normal(0.02), bias(options_.output_bias)};
  output_ = &child("", std::make_unique<Linear>(heads * head_width_,
                                                std::vector<LinearBlock>{output}, place.options));
  if (options_.qk_norm) {
    const bool all = options_.qk_norm_over == NormSpan::all;
    const auto norm = [&](const char* name, int64_t normed_heads) {
      return parameter(name, {(all ? normed_heads : 1) * head_width_}, init::ones(),
                       {.decay = false});
    };
    q_norm_ = norm("q_norm.weight", heads);
    k_norm_ = norm("k_norm.weight", groups_);
  }
  if (options_.rope_theta) {
    frequencies_ =
        rotary_frequencies(*options_.rope_theta, rotary_width(options_), place.options.device());
  }
}

State Attention::initial_state(const StateOptions& options) const {
  int64_t capacity = options.capacity;
  if (capacity <= 0) capacity = options_.window.value_or(kFirstCapacity);
  if (options_.window) capacity = std::min(capacity, *options_.window);
  const at::TensorOptions kept = at::TensorOptions().dtype(options.dtype).device(options.device);
  State state(options.batch, options.device);
  for (const char* name : {"k", "v"}) {
    state.add(name, at::zeros({options.batch, groups_, capacity, head_width_}, kept),
              StateRole::memory, 2);
  }
  return state;
}

int64_t Attention::flops(int64_t batch, int64_t length) const {
  const int64_t window = options_.window.value_or(length);
  const int64_t pairs = window < length ? attention::pairs_in_blocks(batch, length, window)
                                        : batch * length * (length + 1) / 2;
  return qkv_->flops(batch * length) + output_->flops(batch * length) +
         4 * options_.heads * head_width_ * pairs;
}

// (B, T, H, hd), each head by itself or all of them together.
at::Tensor Attention::normed(const at::Tensor& heads, const at::Tensor& weight) const {
  if (options_.qk_norm_over == NormSpan::head) return rms_norm(heads, weight, options_.norm_eps);
  return rms_norm(heads.flatten(2), weight, options_.norm_eps).view(heads.sizes());
}

Attention::Heads Attention::project(const at::Tensor& x, const at::Tensor& positions) const {
  const auto in_heads = [&](const at::Tensor& part, int64_t heads) {
    return part.unflatten(2, {heads, -1});
  };
  const std::vector<at::Tensor> parts = qkv_->split(x);
  Heads heads;
  heads.q = in_heads(parts[0], options_.heads);
  heads.k = in_heads(parts[1], groups_);
  heads.v = in_heads(parts[2], groups_);
  if (options_.output_gate) {
    heads.gate = heads.q.narrow(3, head_width_, head_width_).flatten(2);
    heads.q = heads.q.narrow(3, 0, head_width_);
  }
  if (options_.qk_norm) {
    heads.q = normed(heads.q, q_norm_);
    heads.k = normed(heads.k, k_norm_);
  }
  if (frequencies_.defined()) {
    const Rotation turn = rotation(positions, frequencies_, x.scalar_type());
    heads.q = rotate(heads.q, turn);
    heads.k = rotate(heads.k, turn);
  }
  return heads;
}

// (B or 1, T)
at::Tensor Attention::positions_of(const at::Tensor& x, const Span& span) const {
  const at::TensorOptions whole = x.options().dtype(at::kLong);
  if (span.state) return token_positions(span.state->position(), span.starts, x.size(1));
  if (span.stretch) return token_positions(span.stretch->position(), span.starts, x.size(1));
  if (!span.starts.defined()) return at::arange(x.size(1), whole).unsqueeze(0);
  return token_positions(at::zeros({x.size(0)}, whole), span.starts, x.size(1));
}

at::Tensor Attention::forward(const at::Tensor& x, const Span& span) {
  const at::Tensor positions = positions_of(x, span);
  const Heads heads = project(x, positions);
  if (span.state) attention::reserve(*span.state, x.size(1), options_.window);
  at::Tensor y = x.size(1) == 1 && span.state ? decode(heads, positions, span)
                                              : attend(heads, positions, span);
  if (heads.gate.defined()) y = y * heads.gate.sigmoid();
  return (*output_)(y);
}

// What the memory holds, or the parts of the sequence before this one.
Attention::Earlier Attention::earlier(const Heads& heads, const Span& span) const {
  if (span.stretch) return earlier_parts(heads, *span.stretch)();
  if (!span.state || span.state->longest() == 0) return {};
  const State& state = *span.state;
  const int64_t capacity = state.get("k").size(2);
  const int64_t slots = std::min(capacity, state.longest());
  const auto kept = [&](const char* name) { return state.get(name).narrow(2, 0, slots); };
  return {kept("k"), kept("v"), attention::slot_positions(state.position(), slots, capacity)};
}

// Every part sends as many of its last tokens as later ones may read: the window's, or all. What it
// returns waits for the others', and is called once.
std::function<Attention::Earlier()> Attention::earlier_parts(const Heads& heads,
                                                             Stretch& stretch) const {
  const int64_t reach = options_.window ? *options_.window - 1 : stretch.longest_part();
  const int64_t sent = std::min(reach, stretch.longest_part());
  if (sent == 0) return [] { return Earlier(); };
  const auto last = [&](const at::Tensor& rows) { return Stretch::last_tokens(rows, sent); };
  const at::Tensor own = at::cat({last(heads.k), last(heads.v)}, 3);  // (B, sent, Hkv, 2 hd)
  Arrival arriving = stretch.gather(own, "keys and values");
  return [this, arriving, reach, &stretch]() mutable -> Earlier {
    const at::Tensor parts = arriving.finish();
    int64_t count = stretch.longest();
    if (options_.window) count = std::min(count, reach);
    if (count == 0) return {};
    const at::Tensor before = stretch.last_before(parts, count).transpose(1, 2);
    return {before.narrow(3, 0, head_width_), before.narrow(3, head_width_, head_width_),
            attention::positions_before(stretch.position(), count)};
  };
}

// A part of a sequence of one document, longer than its window: the tokens that see nothing of the
// earlier parts read while keys and values of those are on their way.
at::Tensor Attention::attend_part(const Heads& heads, const at::Tensor& positions,
                                  Stretch& stretch) const {
  const at::Tensor q = heads.q.transpose(1, 2);  // (B, H, T, hd)
  const at::Tensor k = heads.k.transpose(1, 2), v = heads.v.transpose(1, 2);
  const int64_t near = *options_.window - 1, far = q.size(2) - near;
  const auto arriving = earlier_parts(heads, stretch);
  attention::Reading reading{.query_position = positions.narrow(1, near, far),
                             .key_position = positions,
                             .query_document = {},
                             .key_document = {},
                             .memory = near,
                             .window = options_.window,
                             .offsets = nullptr};
  const at::Tensor behind = attention::attend_blocks(q.narrow(2, near, far), k, v, reading);

  const Earlier before = arriving();
  at::Tensor near_k = k.narrow(2, 0, near), near_v = v.narrow(2, 0, near);
  reading.query_position = reading.key_position = positions.narrow(1, 0, near);
  reading.memory = 0;
  if (before.k.defined()) {
    reading.memory = before.k.size(2);
    reading.key_position = at::cat({before.position, reading.key_position}, 1);
    near_k = at::cat({before.k.to(k.scalar_type()), near_k}, 2);
    near_v = at::cat({before.v.to(v.scalar_type()), near_v}, 2);
  }
  const at::Tensor front = attention::attend_blocks(q.narrow(2, 0, near), near_k, near_v, reading);
  return at::cat({front, behind}, 2).transpose(1, 2).flatten(2);
}

// A stretch: what came before it, then its own keys -> (B, T, H hd).
at::Tensor Attention::attend(const Heads& heads, const at::Tensor& positions,
                             const Span& span) const {
  const int64_t window = options_.window.value_or(0);
  if (span.stretch && !span.starts.defined() && 1 < window && window <= heads.q.size(1))
    return attend_part(heads, positions, *span.stretch);
  const at::Tensor q = heads.q.transpose(1, 2);  // (B, H, T, hd)
  const at::Tensor own_k = heads.k.transpose(1, 2), own_v = heads.v.transpose(1, 2);
  const int64_t length = q.size(2);
  const Earlier before = earlier(heads, span);
  const bool empty = !before.k.defined();
  attention::Reading reading{.query_position = positions,
                             .key_position = positions,
                             .query_document = {},
                             .key_document = {},
                             .window = options_.window,
                             .offsets = nullptr};
  if (options_.window && *options_.window >= length && empty) reading.window.reset();
  if (cuts(span, empty)) {
    reading.offsets = span.offsets;
    reading.query_document = reading.key_document = span.starts.cumsum(1);
  }
  at::Tensor k = own_k, v = own_v;
  if (!empty) {
    const int64_t slots = reading.memory = before.k.size(2);
    k = at::cat({before.k.to(own_k.scalar_type()), own_k}, 2);
    v = at::cat({before.v.to(own_v.scalar_type()), own_v}, 2);
    reading.key_position = at::cat({before.position, positions}, 1);
    if (reading.query_document.defined()) {
      const at::Tensor first = at::zeros({q.size(0), slots}, positions.options());
      reading.key_document = at::cat({first, reading.query_document}, 1);
    }
  }
  const bool plain = empty && !reading.window && !reading.offsets;
  const at::Tensor y =
      plain ? attention::fused_attention(q, k, v, {}) : attention::attend_blocks(q, k, v, reading);
  if (span.state) attention::write(*span.state, own_k, own_v, positions, span);
  return y.transpose(1, 2).flatten(2);
}

// One token: it is written first and read with the rest. A ring is never larger than the window, so
// every slot up to the token's own is in reach -> (B, 1, H hd).
at::Tensor Attention::decode(const Heads& heads, const at::Tensor& positions,
                             const Span& span) const {
  State& state = *span.state;
  if (!c10::GradMode::is_enabled()) {
    const at::Tensor y = attend_ring(heads.q, heads.k, heads.v, state.get("k"), state.get("v"),
                                     positions, span.lengths);
    return y.flatten(2);
  }
  const int64_t batch = heads.q.size(0);
  attention::write(state, heads.k.transpose(1, 2), heads.v.transpose(1, 2), positions, span);
  const int64_t slots = std::min(state.get("k").size(2), state.longest() + 1);
  const auto kept = [&](const char* name) {
    return state.get(name).narrow(2, 0, slots).to(heads.q.scalar_type());
  };
  const at::Tensor mask = at::arange(slots, positions.options()) <= positions;  // (B, slots)
  // The heads that share keys are the queries of one head: nothing is repeated.
  const at::Tensor q = heads.q.view({batch, groups_, options_.heads / groups_, head_width_});
  const at::Tensor y =
      attention::fused_attention(q, kept("k"), kept("v"), mask.view({batch, 1, 1, slots}));
  return y.reshape({batch, 1, options_.heads * head_width_});
}

namespace {

void load(Registry& registry) {
  registry.add_mixer<Attention, AttentionOptions>(
      "attention", "softmax attention: grouped heads, rotary positions, sliding window");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("attention", "0.1.0", "softmax attention", "attention", echo::load)
