#include "mixers/ska/prefix.h"

#include "mixers/ska/inverse_factor.h"

#include <functional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::ska {
namespace {

using at::Tensor;

// (B, T, H, .) -> (B, H, T, .)
Tensor by_head(const Tensor& tensor) { return tensor.transpose(1, 2); }

void add_prefix(const Tokens& tokens, const Tensor& prefix, const Reading& reading,
                Statistics& statistics, Tensor& previous) {
  const Tensor marked = prefix.unsqueeze(-1).unsqueeze(-1).to(tokens.keys.scalar_type());
  const Tensor keys = tokens.keys * marked, values = tokens.values * marked;
  const Tensor last = last_key(keys, previous, tokens.lengths);
  const Tensor before = by_head(at::cat({previous.unsqueeze(1), keys.slice(1, 0, -1)}, 1));
  const Tensor now = by_head(keys);
  statistics.G = statistics.G + at::matmul(now.mT(), now);
  if (statistics.M.defined()) statistics.M = statistics.M + at::matmul(now.mT(), before);
  statistics.C = statistics.C + at::matmul(by_head(values).mT(), reading.value_lag ? before : now);
  previous = last;
}

// The operator G^-1 on rows (B, H, T, R).
std::function<Tensor(const Tensor&)> inverse(const Statistics& statistics, const Reading& reading,
                                             Tensor& factor) {
  const Tensor& G = statistics.G;
  if (c10::GradMode::is_enabled()) {
    factor = Tensor();
    const Tensor lower = std::get<0>(at::linalg_cholesky_ex(G));
    return [lower](const Tensor& rows) { return at::cholesky_solve(rows.mT(), lower).mT(); };
  }
  if (!factor.defined()) factor = inverse_factor(G.flatten(0, 1), reading.ridge).view_as(G);
  return [factor](const Tensor& rows) { return at::matmul(at::matmul(rows, factor), factor.mT()); };
}

}  // namespace

Tensor read_prefix(const Tokens& tokens, const Tensor& prefix, const Reading& reading,
                   Statistics& statistics, Tensor& previous, Tensor& factor) {
  if (prefix.defined()) {
    add_prefix(tokens, prefix, reading, statistics, previous);
    factor = Tensor();
  } else {
    previous = at::zeros_like(previous);
  }
  const auto solve = inverse(statistics, reading, factor);
  const Tensor first = solve(by_head(tokens.queries));
  Tensor u = first;
  for (int64_t k = 0; k < reading.power; ++k) u = solve(at::matmul(u, statistics.M.mT()));
  if (tokens.plain.defined()) u = first * by_head(tokens.plain) + u * by_head(tokens.filtered);
  return by_head(at::matmul(u, statistics.C.mT()));
}

}  // namespace echo::ska
