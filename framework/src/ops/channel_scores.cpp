#include "framework/src/ops/channel_scores.h"

#include <ATen/ATen.h>

namespace echo::ops {

namespace {

using at::Tensor;

// The pairs of neighbouring blocks of `half` tokens.
struct Level {
  int64_t half;

  // (M, C, K) -> (M pairs, half, K): the later or the earlier block of every pair
  Tensor later(const Tensor& x) const { return pairs(x).select(2, 1).flatten(0, 1); }
  Tensor earlier(const Tensor& x) const { return pairs(x).select(2, 0).flatten(0, 1); }
  Tensor pairs(const Tensor& x) const {
    return x.view({x.size(0), x.size(1) / (2 * half), 2, half, x.size(2)});
  }
  // (M, C, C) -> (M, half, half, pairs): later rows, earlier columns; a view
  Tensor scores(const Tensor& x) const {
    return x.view({x.size(0), x.size(1) / (2 * half), 2, half, x.size(2) / (2 * half), 2, half})
        .select(5, 0)
        .select(2, 1)
        .diagonal(0, 1, 3);
  }
  Tensor scores_in_order(const Tensor& x) const {
    return scores(x).permute({0, 3, 1, 2}).reshape({-1, half, half});
  }
  void set_scores(Tensor& x, const Tensor& value) const {
    scores(x).copy_(value.view({x.size(0), -1, half, half}).permute({0, 2, 3, 1}));
  }
  void add(Tensor& x, int64_t which, const Tensor& value) const {
    pairs(x).select(2, which).add_(value.view({x.size(0), -1, half, x.size(2)}));
  }

  // What is left from the border to the later block's tokens, and from the earlier ones' to it.
  struct Decays {
    Tensor later, earlier;
  };
  Decays decays(const Tensor& sums) const {
    const Tensor before = earlier(sums);
    const Tensor border = before.narrow(1, half - 1, 1);
    return {(later(sums) - border).exp_(), (border - before).exp_()};
  }
};

Tensor flat(const Tensor& x) { return x.contiguous().view({-1, x.size(-2), x.size(-1)}); }

}  // namespace

ChannelScores channel_scores(const Tensor& q, const Tensor& k, const Tensor& sums, KeyScores keys) {
  const int64_t chunk = q.size(-2);
  std::vector<int64_t> shape = q.sizes().vec();
  shape.back() = chunk;
  const Tensor queries = flat(q), read = flat(k), running = flat(sums);
  Tensor of_queries = at::zeros({queries.size(0), chunk, chunk}, q.options());
  Tensor of_keys = keys == KeyScores::wanted ? at::zeros_like(of_queries) : Tensor();
  of_queries.diagonal(0, 1, 2).copy_((queries * read).sum(2));
  for (Level level{chunk / 2}; level.half > 0; level.half /= 2) {
    const Level::Decays decays = level.decays(running);
    const Tensor columns = (level.earlier(read) * decays.earlier).mT();
    level.set_scores(of_queries, at::bmm(level.later(queries) * decays.later, columns));
    if (of_keys.defined())
      level.set_scores(of_keys, at::bmm(level.later(read) * decays.later, columns));
  }
  return {of_queries.view(shape), of_keys.defined() ? of_keys.view(shape) : of_keys};
}

ChannelGradients channel_scores_backward(const Tensor& q, const Tensor& k, const Tensor& sums,
                                         const ChannelScores& gradients) {
  const Tensor queries = flat(q), keys = flat(k), running = flat(sums);
  const Tensor of_queries = flat(gradients.queries);
  const Tensor of_keys = gradients.keys.defined() ? flat(gradients.keys) : Tensor();
  const Tensor own = of_queries.diagonal(0, 1, 2).unsqueeze(2);
  Tensor dq = keys * own, read = queries * own;
  Tensor reader = of_keys.defined() ? at::zeros_like(keys) : Tensor();
  for (Level level{q.size(-2) / 2}; level.half > 0; level.half /= 2) {
    const Level::Decays decays = level.decays(running);
    const Tensor columns = level.earlier(keys) * decays.earlier;
    const Tensor dqueries = level.scores_in_order(of_queries);
    level.add(dq, 1, at::bmm(dqueries, columns).mul_(decays.later));
    Tensor dcolumns = at::bmm(dqueries.mT(), level.later(queries) * decays.later);
    if (of_keys.defined()) {
      const Tensor dkeys = level.scores_in_order(of_keys);
      level.add(reader, 1, at::bmm(dkeys, columns).mul_(decays.later));
      dcolumns.baddbmm_(dkeys.mT(), level.later(keys) * decays.later);
    }
    level.add(read, 0, dcolumns.mul_(decays.earlier));
  }
  const auto shaped = [&](const Tensor& x) { return x.defined() ? x.view(q.sizes()) : x; };
  return {shaped(dq), shaped(reader), shaped(read)};
}

}  // namespace echo::ops
