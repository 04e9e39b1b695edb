#include "mixers/ska/frame.h"

#include "mixers/ska/inverse_factor.h"

#include <cmath>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// A statistic before each of n chunks and after the last one, (n + 1, B, H, a, b): its value before
// the first, and each chunk's own sum left^T right.
Tensor running(const Tensor& initial, const Tensor& left, const Tensor& right,
               const Documents& documents, double reset) {
  const int64_t chunks = left.size(0) / (initial.size(0) * initial.size(1));
  Tensor all =
      at::empty({chunks + 1, initial.size(0), initial.size(1), initial.size(2), initial.size(3)},
                initial.options());
  all[0].copy_(initial);
  Tensor sums = all.slice(0, 1).flatten(0, 2);
  at::bmm_out(sums, left.mT(), right);
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    documents.carry(all[chunk + 1], all[chunk], chunk, reset);
  return all;
}

}  // namespace

Tensor Frame::into(const Tensor& rows) const {
  return documents.replace_fresh(at::bmm(rows, factor), rows, 1 / std::sqrt(ridge));
}

Tensor Frame::out_of(const Tensor& rows) const {
  return documents.replace_fresh(at::bmm(rows, factor.mT()), rows, 1 / std::sqrt(ridge));
}

Solved Frame::solve(Tensor x) const {
  const Tensor weights = at::bmm(documents.causal(at::bmm(x, directions.mT())), inverse);
  return {x.baddbmm_(weights, now(), 1, -1), weights};
}

Tensor Frame::pair_weights(const Solved& solved) const {
  Tensor weights = at::empty_like(solved.weights);
  weights.slice(2, 1).copy_(solved.weights.slice(2, 0, -1));
  weights.slice(2, 0, 1).copy_(at::bmm(solved.u, keys.slice(1, 0, 1).mT()));
  return documents.pairs(weights);
}

std::vector<Solved> Frame::filter(const Tensor& queries, int64_t power) const {
  std::vector<Solved> reads = {solve(into(queries))};
  for (int64_t k = 0; k < power; ++k) {
    Tensor x = documents.carried(at::bmm(reads.back().u, lag.mT()));
    x.baddbmm_(pair_weights(reads.back()), now());
    reads.push_back(solve(x));
  }
  return reads;
}

Frame make_frame(const Chunks& block, const Reading& reading, Statistics& statistics) {
  Frame frame;
  frame.ridge = reading.ridge;
  frame.documents = Documents(block.starts, block.keys.scalar_type());
  const Documents& documents = frame.documents;
  const Tensor keys = block.keys.flatten(0, 2), values = block.values.flatten(0, 2);
  const Tensor now = keys.slice(1, 1), before = keys.slice(1, 0, -1);

  const auto entering = [&](Tensor& statistic, const Tensor& left, const Tensor& right,
                            double reset) {
    const Tensor all = running(statistic, left, right, documents, reset);
    statistic = all[all.size(0) - 1];
    return all.slice(0, 0, -1).flatten(0, 2);
  };
  frame.factor = inverse_factor(entering(statistics.G, documents.leaving(now), now, reading.ridge),
                                reading.ridge);
  if (reading.power > 0) {
    const Tensor lag = entering(statistics.M, documents.leaving_pairs(now), before, 0);
    frame.lag = at::bmm(at::bmm(frame.factor.mT(), lag), frame.factor);
  }
  const Tensor sums = reading.value_lag
                          ? entering(statistics.C, documents.leaving_pairs(values), before, 0)
                          : entering(statistics.C, documents.leaving(values), now, 0);
  frame.values = at::bmm(sums, frame.factor);

  // The one part that needs float64: entries reach 1 / ridge, and the identity must survive.
  frame.keys = frame.into(keys);
  const Tensor own = frame.now().to(at::kDouble);
  const Tensor gram = documents.causal(at::bmm(own, own.mT()));
  gram.diagonal(0, -2, -1).add_(1);
  const Tensor inverse = inverse_factor(gram, 1).mT();
  frame.inverse = inverse.to(keys.scalar_type());
  frame.directions = at::bmm(inverse, own).to(keys.scalar_type());
  return frame;
}

}  // namespace echo::ska
