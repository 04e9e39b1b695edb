#include "framework/src/ops/chunks.h"

#include <vector>

#include <ATen/ATen.h>

namespace echo::ops {

at::Tensor pad_time(const at::Tensor& x, int64_t count) {
  if (count == 0) return x;
  std::vector<int64_t> widths(static_cast<size_t>(2 * (x.dim() - 2)), 0);
  widths.insert(widths.end(), {0, count});
  return at::constant_pad_nd(x, widths);
}

at::Tensor product(const at::Tensor& left, const at::Tensor& right) {
  return at::bmm(left.flatten(0, 1), right.flatten(0, 1)).unflatten(0, {left.size(0), -1});
}

}  // namespace echo::ops
