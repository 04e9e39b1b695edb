#include "mixers/attention/cache.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::attention {

namespace {

constexpr int64_t kNowhere = std::numeric_limits<int64_t>::max() / 2;

// (B, n) slots as an index into dimension 2 of a ring.
at::Tensor ring_index(const at::Tensor& slots, const at::Tensor& ring) {
  return slots.view({slots.size(0), 1, -1, 1}).expand({-1, ring.size(1), -1, ring.size(3)});
}

// Into empty rings: token t of every row is the t-th of its document.
at::Tensor filled(const at::Tensor& ring, const at::Tensor& values) {
  const int64_t capacity = ring.size(2);
  const int64_t length = values.size(2);
  const at::Tensor cast = values.to(ring.scalar_type());
  if (length > capacity)
    return cast.narrow(2, length - capacity, capacity).roll(length % capacity, 2);
  if (c10::GradMode::is_enabled()) {
    std::vector<int64_t> rest = ring.sizes().vec();
    rest[2] = capacity - length;
    return at::cat({cast, at::zeros(rest, ring.options())}, 2);
  }
  ring.narrow(2, 0, length).copy_(cast);
  return ring;
}

// Behind what is there, when all tokens of the stretch are valid and in one document. The last ones
// of more tokens than slots, since a slot must be written once.
at::Tensor appended(const at::Tensor& ring, const at::Tensor& values, const at::Tensor& positions) {
  const int64_t capacity = ring.size(2);
  const int64_t length = values.size(2);
  const int64_t count = std::min(length, capacity);
  const at::Tensor late = values.narrow(2, length - count, count).to(ring.scalar_type());
  const at::Tensor slots =
      positions.narrow(1, length - count, count).remainder(capacity).expand({ring.size(0), -1});
  const at::Tensor index = ring_index(slots.contiguous(), ring);
  if (c10::GradMode::is_enabled()) return ring.scatter(2, index, late);
  return ring.scatter_(2, index, late);
}

// For every slot the token of the stretch that ends there, or what it held: padding is not written,
// and only the last document of a row is.
struct Merge {
  at::Tensor token;  // (B, C) int64: index in the stretch
  at::Tensor fresh;  // (B, C) bool: the slot takes it

  at::Tensor operator()(const at::Tensor& ring, const at::Tensor& values) const {
    const at::Tensor late = values.gather(2, ring_index(token, values)).to(ring.scalar_type());
    return at::where(fresh.view({ring.size(0), 1, -1, 1}), late, ring);
  }
};

Merge merge_of(const State& state, int64_t length, int64_t capacity, const Span& span) {
  State end(state.batch(), state.device());
  end.set_position(state.position(), state.longest());
  end.advance(length, span.starts, span.lengths, span.offsets);
  const at::Tensor valid =
      span.lengths.defined() ? span.lengths : at::full_like(end.position(), length);
  // Slot s ends with the token of position p; the last valid token, of position P - 1, is token
  // valid - 1 of the stretch.
  const at::Tensor p = slot_positions(end.position(), capacity, capacity);
  const at::Tensor token = p + (valid - end.position()).unsqueeze(1);
  return {token.clamp(0, length - 1), (p < kNowhere).logical_and(token >= 0)};
}

}  // namespace

void reserve(State& state, int64_t length, std::optional<int64_t> window) {
  const int64_t capacity = state.get("k").size(2);
  int64_t needed = state.longest() + length;
  if (window) needed = std::min(needed, *window);
  if (needed <= capacity) return;
  int64_t grown = std::max(needed, 2 * capacity);
  if (window) grown = std::min(grown, *window);
  for (const char* name : {"k", "v"}) {
    const at::Tensor& ring = state.get(name);
    std::vector<int64_t> rest = ring.sizes().vec();
    rest[2] = grown - capacity;
    state.set(name, at::cat({ring, at::zeros(rest, ring.options())}, 2));
  }
}

at::Tensor slot_positions(const at::Tensor& position, int64_t slots, int64_t capacity) {
  const at::Tensor last = position.unsqueeze(1) - 1;
  const at::Tensor slot = at::arange(slots, position.options());
  const at::Tensor held = last - (last - slot).remainder(capacity);
  return held.masked_fill(held < 0, kNowhere);
}

at::Tensor positions_before(const at::Tensor& position, int64_t count) {
  const at::Tensor held =
      position.unsqueeze(1) - at::arange(count, 0, -1, position.options()).unsqueeze(0);
  return held.masked_fill(held < 0, kNowhere);
}

void write(State& state, const at::Tensor& k, const at::Tensor& v, const at::Tensor& positions,
           const Span& span) {
  const at::Tensor keys = state.get("k");
  const at::Tensor values = state.get("v");
  const int64_t length = k.size(2);
  const bool one_document = !span.starts.defined() || length == 1;
  if (span.lengths.defined() || !one_document) {
    const Merge merge = merge_of(state, length, keys.size(2), span);
    state.set("k", merge(keys, k));
    state.set("v", merge(values, v));
  } else if (state.longest() == 0) {
    state.set("k", filled(keys, k));
    state.set("v", filled(values, v));
  } else {
    state.set("k", appended(keys, k, positions));
    state.set("v", appended(values, v, positions));
  }
}

}  // namespace echo::attention
