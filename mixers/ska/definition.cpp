#include "mixers/ska/definition.h"

#include <vector>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// a b^T of the last dimensions
Tensor outer_product(const Tensor& a, const Tensor& b) { return a.unsqueeze(-1) * b.unsqueeze(-2); }

}  // namespace

Tensor read_definition(const Tokens& tokens, const Reading& reading, Statistics& statistics,
                       Tensor& previous) {
  auto& [G, M, C] = statistics;
  const Tensor empty = reading.ridge * at::eye(G.size(-1), G.options());
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < tokens.keys.size(1); ++t) {
    const Tensor z = tokens.keys.select(1, t), q = tokens.queries.select(1, t);
    const Tensor v = tokens.values.select(1, t);
    if (tokens.starts.defined()) {
      const Tensor start = tokens.starts.select(1, t).view({-1, 1, 1});  // (B, 1, 1)
      previous = previous.masked_fill(start, 0);
      G = at::where(start.unsqueeze(-1), empty, G);
      if (M.defined()) M = M.masked_fill(start.unsqueeze(-1), 0);
      C = C.masked_fill(start.unsqueeze(-1), 0);
    }
    G = G + outer_product(z, z);
    if (M.defined()) M = M + outer_product(z, previous);
    C = C + outer_product(v, reading.value_lag ? previous : z);
    previous = z;

    const Tensor factor = at::linalg_cholesky(G);
    const auto solve = [&](const Tensor& x) { return at::cholesky_solve(x, factor); };
    const Tensor plain = solve(q.unsqueeze(-1));  // (B, H, R, 1)
    Tensor u = plain;
    for (int64_t k = 0; k < reading.power; ++k) u = solve(at::matmul(M, u));
    if (tokens.plain.defined()) {
      u = plain * tokens.plain.select(1, t).unsqueeze(-1) +
          u * tokens.filtered.select(1, t).unsqueeze(-1);
    }
    outputs.push_back(at::matmul(C, u).squeeze(-1));
  }
  return at::stack(outputs, 1);
}

}  // namespace echo::ska
