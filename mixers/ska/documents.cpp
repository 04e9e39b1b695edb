#include "mixers/ska/documents.h"

#include <ATen/ATen.h>

namespace echo::ska {

Documents::Documents(const at::Tensor& starts, at::ScalarType dtype) {
  if (!starts.defined()) return;
  const at::Tensor document = starts.cumsum(-1);                      // (n, B, S)
  const at::Tensor last = document.slice(-1, document.size(-1) - 1);  // (n, B, 1)
  const at::Tensor first = starts.logical_not();                      // may end a pair
  const auto column = [&](const at::Tensor& mask) {
    return mask.unsqueeze(2).unsqueeze(-1).to(dtype);
  };

  fresh_ = at::constant_pad_nd(document > 0, {1, 0}).unsqueeze(2).unsqueeze(-1);
  carried_ = column(document == 0);
  leaving_ = column(document == last);
  leaving_pairs_ = leaving_ * column(first);
  keep_ = (last == 0).to(dtype).unsqueeze(-1).unsqueeze(-1);
  causal_ = (document.unsqueeze(-1) == document.unsqueeze(-2)).to(dtype).tril_().unsqueeze(2);
  pairs_ = causal_ * first.unsqueeze(2).unsqueeze(-2);
}

namespace {

// (n B H, a, b) -> (n, B, H, a, b)
at::Tensor by_head(const at::Tensor& matrices, const at::Tensor& mask) {
  return matrices.unflatten(0, {mask.size(0), mask.size(1), -1});
}

at::Tensor masked(const at::Tensor& matrices, const at::Tensor& mask) {
  return mask.defined() ? (by_head(matrices, mask) * mask).flatten(0, 2) : matrices;
}

}  // namespace

at::Tensor Documents::causal(at::Tensor scores) const {
  if (!causal_.defined()) return scores.tril_();
  by_head(scores, causal_).mul_(causal_);
  return scores;
}

at::Tensor Documents::pairs(at::Tensor scores) const {
  if (!pairs_.defined()) return scores.tril_();
  by_head(scores, pairs_).mul_(pairs_);
  return scores;
}

at::Tensor Documents::pairs_of_causal(const at::Tensor& scores) const {
  return masked(scores, pairs_);
}
at::Tensor Documents::carried(const at::Tensor& rows) const { return masked(rows, carried_); }
at::Tensor Documents::leaving(const at::Tensor& rows) const { return masked(rows, leaving_); }
at::Tensor Documents::leaving_pairs(const at::Tensor& rows) const {
  return masked(rows, leaving_pairs_);
}

at::Tensor Documents::replace_fresh(const at::Tensor& rows, const at::Tensor& plain,
                                    double scale) const {
  if (!fresh_.defined()) return rows;
  const at::Tensor fresh = fresh_.slice(3, fresh_.size(3) - rows.size(1));
  return at::where(fresh, by_head(plain, fresh) * scale, by_head(rows, fresh)).flatten(0, 2);
}

void Documents::carry(at::Tensor target, const at::Tensor& source, int64_t chunk,
                      double reset) const {
  if (!keep_.defined()) {
    target.add_(source);
    return;
  }
  const at::Tensor keep = keep_.select(0, chunk);  // (B, 1, 1, 1)
  target.addcmul_(source, keep);
  if (reset != 0) target.diagonal(0, -2, -1).add_((1 - keep).squeeze(-1), reset);
}

}  // namespace echo::ska
