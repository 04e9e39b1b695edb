#include <echo/error.h>
#include <echo/stretch.h>

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

namespace echo {

using at::Tensor;

int64_t Stretch::longest_part() const {
  int64_t longest = 0;
  for (int64_t rank = 0; rank < size(); ++rank) longest = std::max(longest, length(rank));
  return longest;
}

int64_t Stretch::tokens_before() const {
  int64_t sum = 0;
  for (int64_t earlier = 0; earlier < rank(); ++earlier) sum += length(earlier);
  return sum;
}

namespace {

// mask (B) for a tensor (B, ...)
Tensor for_rows(const Tensor& mask, const Tensor& x) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = -1;
  return mask.view(shape);
}

// x (B, T, ...) with `count` zeros before its first token
Tensor pad_front(const Tensor& x, int64_t count) {
  if (count == 0) return x;
  std::vector<int64_t> widths(static_cast<size_t>(2 * (x.dim() - 2)), 0);
  widths.insert(widths.end(), {count, 0});
  return at::constant_pad_nd(x, widths);
}

}  // namespace

Tensor Stretch::sum_before(const Tensor& parts) const {
  if (rank() == 0) return at::zeros_like(parts[0]);
  Tensor sum = parts[0];
  for (int64_t part = 1; part < rank(); ++part) {
    if (unbroken().defined())
      sum = sum.masked_fill(for_rows(unbroken()[part].logical_not(), sum), 0);
    sum = sum + parts[part];
  }
  return sum;
}

Tensor Stretch::last_before(const Tensor& parts, int64_t count) const {
  const int64_t held = parts.size(2);
  std::vector<Tensor> pieces;
  for (int64_t part = rank() - 1; part >= 0 && count > 0; --part) {
    const int64_t taken = std::min({count, held, length(part)});
    pieces.push_back(parts[part].narrow(1, held - taken, taken));
    count -= taken;
  }
  if (pieces.empty()) return parts[0].narrow(1, 0, 0);
  std::reverse(pieces.begin(), pieces.end());
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, 1);
}

Tensor Stretch::last_tokens(const Tensor& tokens, int64_t n) {
  const int64_t count = std::min(n, tokens.size(1));
  return pad_front(tokens.narrow(1, tokens.size(1) - count, count), n - count);
}

Arrival Stretch::prefix_sum(const Tensor& t, const std::string& what) {
  return Arrival([this, parts = gather(t, what)]() mutable { return sum_before(parts.finish()); });
}

Arrival Stretch::prefix_compose(const Tensor& transition, const Tensor& state,
                                const std::string& what) {
  ECHO_CHECK(state.dim() == 4 && transition.dim() >= 2 && transition.dim() <= 4 &&
                 transition.scalar_type() == state.scalar_type(),
             "a transition " << transition.sizes() << " of a state " << state.sizes());
  Arrival parts = gather(at::cat({transition.flatten(1), state.flatten(1)}, 1), what);
  // Shapes only: neither tensor is to live until the end.
  const std::vector<int64_t> of_transition = transition.sizes().vec(),
                             of_state = state.sizes().vec();
  return Arrival([this, parts = std::move(parts), of_transition, of_state]() mutable {
    const Tensor all = parts.finish();
    const int64_t state_width = of_state[1] * of_state[2] * of_state[3];
    Tensor memory = at::zeros(of_state, all.options());
    for (int64_t part = 0; part < rank(); ++part) {
      const Tensor packed = all[part];
      const int64_t border = packed.size(1) - state_width;
      const Tensor own = packed.narrow(1, border, state_width).reshape(of_state);
      if (part == 0) {
        memory = own;
        continue;
      }
      Tensor across = packed.narrow(1, 0, border).reshape(of_transition);
      if (across.dim() == 4) {
        memory = own + at::matmul(across, memory);
        continue;
      }
      while (across.dim() < 4) across = across.unsqueeze(across.dim());
      memory = at::addcmul(own, across, memory);
    }
    return memory;
  });
}

Arrival Stretch::halo(const Tensor& tokens, int64_t n, const std::string& what) {
  // A shorter part hands on what it has; the parts before it hold the rest.
  Arrival parts = gather(last_tokens(tokens, n), what);
  return Arrival([this, parts = std::move(parts), n]() mutable {
    const Tensor found = last_before(parts.finish(), n);
    const Tensor whole = pad_front(found, n - found.size(1));
    const Tensor distance = at::arange(n, 0, -1, position().options());  // (n)
    Tensor missing = position().unsqueeze(1) < distance;                 // (B, n)
    while (missing.dim() < whole.dim()) missing = missing.unsqueeze(missing.dim());
    return whole.masked_fill(missing, 0);
  });
}

}  // namespace echo
