#include "mixers/ska/block.h"

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// (n, B, H, a, b) -> (n B H, a, b)
Tensor flat(const Tensor& tensor) { return tensor.flatten(0, 2); }

// What C is applied to: the last read, or the read gate's mixture of the first and the last.
Solved mixture(const Chunks& block, const std::vector<Solved>& reads) {
  if (!block.plain.defined()) return reads.back();
  const auto mixed = [&](const Tensor& first, const Tensor& last) {
    return (first * flat(block.plain)).addcmul_(last, flat(block.filtered));
  };
  return {mixed(reads.front().u, reads.back().u),
          mixed(reads.front().weights, reads.back().weights)};
}

// The coefficients of the chunk's own values in C_t u_t.
Tensor value_weights(const Frame& frame, const Reading& reading, const Solved& read) {
  return reading.value_lag ? frame.pair_weights(read) : read.weights;
}

// Gradients in the coordinates of the frame; G, M and C are those that enter. The factors have no
// gradient of their own: u = G^-1 x has the adjoint dx = G^-1 du, dG = -dx u^T, whatever computes
// it.
struct Gradient {
  Tensor now, before;      // (n, S, R) of y_s and y_{s-1}
  Tensor queries, values;  // (n, S, R), (n, S, P)
  Tensor plain, filtered;  // (n, S, 1)
  Tensor G, M, C;
};

// Through the chain of reads; du is the gradient of the last one's u, and du_first, if defined,
// that of the first one's beside it.
void filter_backward(const Frame& frame, const std::vector<Solved>& reads, Tensor du,
                     const Tensor& du_first, Gradient& gradient) {
  const Documents& documents = frame.documents;
  for (size_t k = reads.size(); k-- > 0;) {
    if (k == 0 && du_first.defined()) du.add_(du_first);
    const Solved adjoint = frame.solve(du);  // u: the gradient of x_k
    const Tensor carried = documents.carried(adjoint.u);
    gradient.G.baddbmm_(carried.mT(), reads[k].u, 1, -1);
    gradient.now.baddbmm_(adjoint.weights.mT(), reads[k].u, 1, -1);
    Tensor weights = -reads[k].weights;
    if (k > 0) {  // x_k = M u_{k-1}
      const Solved& read = reads[k - 1];
      weights.add_(frame.pair_weights(read));
      const Tensor adjoint_weights = documents.pairs_of_causal(adjoint.weights);
      gradient.M.baddbmm_(carried.mT(), read.u);
      gradient.before.baddbmm_(adjoint_weights.mT(), read.u);
      du = at::bmm(carried, frame.lag).baddbmm_(adjoint_weights, frame.before());
    }
    gradient.now.baddbmm_(weights.mT(), adjoint.u);
    gradient.queries = adjoint.u;
  }
}

Gradient frame_backward(const Saved& saved, const Chunks& block, const Reading& reading,
                        const Tensor& dy) {
  const auto& [frame, reads] = saved;
  const Documents& documents = frame.documents;
  Gradient gradient;
  for (Tensor* rows : {&gradient.now, &gradient.before}) *rows = at::zeros_like(reads.front().u);
  gradient.G = at::zeros_like(frame.factor);
  if (frame.lag.defined()) gradient.M = at::zeros_like(frame.lag);

  // y_t = C_t u_t
  const Solved read = mixture(block, reads);
  const Tensor carried = documents.carried(dy);
  const Tensor products = at::bmm(dy, flat(block.values).mT());
  const Tensor weights = reading.value_lag ? documents.pairs(products) : documents.causal(products);
  gradient.C = at::bmm(carried.mT(), read.u);
  gradient.values = at::bmm(value_weights(frame, reading, read).mT(), dy);
  (reading.value_lag ? gradient.before : gradient.now).baddbmm_(weights.mT(), read.u);
  Tensor du = at::bmm(carried, frame.values);
  du.baddbmm_(weights, reading.value_lag ? frame.before() : frame.now());

  Tensor du_first;
  if (block.plain.defined()) {
    gradient.plain = (du * reads.front().u).sum(-1, true);
    gradient.filtered = (du * reads.back().u).sum(-1, true);
    du_first = du * flat(block.plain);
    du.mul_(flat(block.filtered));
  }
  filter_backward(frame, reads, du, du_first, gradient);
  return gradient;
}

// A statistic's gradient after each of n chunks, (n B H, a, b), from `entering`, that of the
// statistic as it enters each chunk's frame. `statistic`: that after the last chunk, then that
// before the first.
Tensor running_backward(const Tensor& entering, Tensor& statistic, const Documents& documents) {
  const int64_t chunks = entering.size(0) / (statistic.size(0) * statistic.size(1));
  Tensor all = at::cat({entering.view({chunks, statistic.size(0), statistic.size(1),
                                       statistic.size(2), statistic.size(3)}),
                        statistic.unsqueeze(0)});
  for (int64_t chunk = chunks; chunk-- > 0;) documents.carry(all[chunk], all[chunk + 1], chunk, 0);
  statistic = all[0];
  return flat(all.slice(0, 1));
}

// Through the chunks' own sums Z^T Z, Z^T Zp and V^T Z (or V^T Zp): adds to the gradients of keys
// (n, S + 1, R) and values.
void sums_backward(const Gradient& gradient, const Chunks& block, const Reading& reading,
                   const Documents& documents, Statistics& statistics, Tensor keys_gradient,
                   Tensor values_gradient) {
  const Tensor keys = flat(block.keys), values = flat(block.values);
  const Tensor now = keys.slice(1, 1), before = keys.slice(1, 0, -1);
  Tensor dnow = keys_gradient.slice(1, 1), dbefore = keys_gradient.slice(1, 0, -1);

  const Tensor dG = running_backward(gradient.G, statistics.G, documents);
  dnow.add_(documents.leaving(at::bmm(now, dG + dG.mT())));
  if (gradient.M.defined()) {
    const Tensor dM = running_backward(gradient.M, statistics.M, documents);
    dnow.add_(documents.leaving_pairs(at::bmm(before, dM.mT())));
    dbefore.add_(documents.leaving_pairs(at::bmm(now, dM)));
  }
  const Tensor dC = running_backward(gradient.C, statistics.C, documents);
  if (reading.value_lag) {
    values_gradient.add_(documents.leaving_pairs(at::bmm(before, dC.mT())));
    dbefore.add_(documents.leaving_pairs(at::bmm(values, dC)));
  } else {
    values_gradient.add_(documents.leaving(at::bmm(now, dC.mT())));
    dnow.add_(documents.leaving(at::bmm(values, dC)));
  }
}

}  // namespace

Saved read_block(const Chunks& block, const Reading& reading, Statistics& statistics, Tensor y) {
  Saved saved;
  saved.frame = make_frame(block, reading, statistics);
  saved.reads = saved.frame.filter(flat(block.queries), reading.power);
  const Solved read = mixture(block, saved.reads);
  at::bmm_out(y, saved.frame.documents.carried(read.u), saved.frame.values.mT());
  y.baddbmm_(value_weights(saved.frame, reading, read), flat(block.values));
  return saved;
}

void read_block_backward(const Saved& saved, const Chunks& block, const Reading& reading,
                         const Tensor& dy, Statistics& statistics, const Chunks& result) {
  const Frame& frame = saved.frame;
  Gradient gradient = frame_backward(saved, block, reading, dy);

  // Out of the frame's coordinates.
  const auto congruent = [&](const Tensor& matrices) {
    return at::bmm(at::bmm(frame.factor, matrices), frame.factor.mT());
  };
  gradient.G = congruent(gradient.G + gradient.G.mT()).mul_(0.5);
  if (gradient.M.defined()) gradient.M = congruent(gradient.M);
  gradient.C = at::bmm(gradient.C, frame.factor.mT());
  Tensor keys = at::constant_pad_nd(gradient.now, {0, 0, 1, 0});
  keys.slice(1, 0, -1).add_(gradient.before);
  keys = frame.out_of(keys);

  sums_backward(gradient, block, reading, frame.documents, statistics, keys, gradient.values);
  flat(result.keys).copy_(keys);
  flat(result.queries).copy_(frame.out_of(gradient.queries));
  flat(result.values).copy_(gradient.values);
  if (!block.plain.defined()) return;
  flat(result.plain).copy_(gradient.plain);
  flat(result.filtered).copy_(gradient.filtered);
}

}  // namespace echo::ska
