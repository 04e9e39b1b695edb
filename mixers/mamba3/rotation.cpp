#include "mixers/mamba3/rotation.h"

#include <cmath>

#include <ATen/ATen.h>

namespace echo::mamba3 {

using at::Tensor;

Tensor running_angles(const Tensor& steps, const Tensor& before, const Tensor& starts) {
  const Tensor wide = steps.to(at::kDouble);  // thousands of steps, of which the digits count
  const Tensor sums = wide.cumsum(1);
  Tensor angles = before.defined() ? sums + before.to(at::kDouble).unsqueeze(1) : sums;
  if (starts.defined()) {
    const Tensor t = at::arange(steps.size(1), starts.options().dtype(at::kLong));
    const Tensor last = std::get<0>(at::where(starts, t, at::full_like(t, -1)).cummax(1));
    const Tensor index = last.clamp_min(0).unsqueeze(2).unsqueeze(3).expand_as(sums);
    const Tensor since = sums - (sums - wide).gather(1, index);
    angles = at::where((last >= 0).unsqueeze(2).unsqueeze(3), since, angles);
  }
  return angles.remainder(2 * M_PI).to(steps.scalar_type());
}

namespace {

// Pairs first, second (..., A) of the dimensions of x, and the others.
Tensor turn(const Tensor& x, const Tensor& cosine, const Tensor& sine, Pairing pairing) {
  const int64_t pairs = cosine.size(-1), width = x.size(-1), half = width / 2;
  const auto part = [&](int64_t first, int64_t last) { return x.slice(-1, first, last); };
  if (pairing == Pairing::neighbours) {
    const Tensor both = part(0, 2 * pairs).unflatten(-1, {pairs, 2});
    const Tensor first = both.select(-1, 0), second = both.select(-1, 1);
    const Tensor turned =
        at::stack({first * cosine - second * sine, first * sine + second * cosine}, -1);
    return at::cat({turned.flatten(-2), part(2 * pairs, width)}, -1);
  }
  const Tensor first = part(0, pairs), second = part(half, half + pairs);
  return at::cat({first * cosine - second * sine, part(pairs, half), first * sine + second * cosine,
                  part(half + pairs, width)},
                 -1);
}

}  // namespace

Tensor turned(const Tensor& rows, const Tensor& bias, const Tensor& cosine, const Tensor& sine,
              Pairing pairing) {
  const int64_t groups = rows.size(3), heads = bias.size(0);
  const Tensor by_group = bias.transpose(0, 1).unflatten(1, {groups, heads / groups});
  const Tensor sum = (rows.unsqueeze(4) + by_group).flatten(3, 4);  // (B, T, R, H, N)
  return turn(sum, cosine.unsqueeze(2), sine.unsqueeze(2), pairing);
}

}  // namespace echo::mamba3
