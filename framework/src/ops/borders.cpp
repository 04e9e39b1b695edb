#include "framework/src/ops/borders.h"

#include "framework/src/ops/chunks.h"

#include <vector>

#include <ATen/ATen.h>

namespace echo::ops {

using at::Tensor;

Borders::Borders(const Tensor& starts) {
  if (!starts.defined()) return;
  const Tensor count = starts.cumsum(1);
  const Tensor last = count.narrow(1, count.size(1) - 1, 1);
  cut_in = count != 0;
  cut_out = count != last;
  broken = last.squeeze(1) != 0;
}

Tensor cleared(const Tensor& x, const Tensor& mask) {
  if (!mask.defined()) return x;
  Tensor fitting = mask;
  while (fitting.dim() < x.dim()) fitting = fitting.unsqueeze(fitting.dim());
  return x.masked_fill(fitting, 0);
}

Tensor sums_behind(const Tensor& a) {
  const int64_t length = a.size(1);
  if (length == 1) return at::zeros_like(a);
  return pad_time(a.narrow(1, 1, length - 1).flip(1).cumsum(1).flip(1), 1);
}

Tensor repeat_groups(const Tensor& x, int64_t heads) {
  const int64_t groups = x.size(1);
  if (groups == heads) return x;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.insert(shape.begin() + 2, heads / groups);
  return x.unsqueeze(2).expand(shape).flatten(1, 2);
}

}  // namespace echo::ops
