#include "framework/src/ops/reference.h"

#include "framework/src/ops/kernel.h"

#include <ATen/ATen.h>

namespace echo::reference {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(ops::wide(x.scalar_type()));
  at::Tensor y = wide * (wide.square().mean(-1, true) + eps).rsqrt();
  if (weight.defined()) y = y * weight.to(wide.scalar_type());
  return y.to(x.scalar_type());
}

at::Tensor l2_normalize(const at::Tensor& x, double eps) {
  const at::Tensor wide = x.to(ops::wide(x.scalar_type()));
  return (wide * (wide.square().sum(-1, true) + eps).rsqrt()).to(x.scalar_type());
}

at::Tensor rotate(const at::Tensor& heads, const Rotation& rotation) {
  const int64_t half = rotation.cosine.size(2);
  const at::Tensor wide = heads.to(ops::wide(heads.scalar_type()));
  const at::Tensor cosine = rotation.cosine.unsqueeze(2);  // (B or 1, T, 1, half)
  const at::Tensor sine = rotation.sine.unsqueeze(2);
  const at::Tensor first = wide.narrow(3, 0, half);
  const at::Tensor second = wide.narrow(3, half, half);
  const at::Tensor rest = wide.narrow(3, 2 * half, heads.size(3) - 2 * half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine, rest}, 3)
      .to(heads.scalar_type());
}

at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& reach) {
  const at::ScalarType wide = ops::wide(x.scalar_type());
  const int64_t before = weight.size(2) - 1;
  const int64_t length = x.size(1) - before;
  at::Tensor y = at::zeros({}, x.options().dtype(wide));
  if (bias.defined()) y = bias.to(wide);
  for (int64_t lag = before; lag >= 0; --lag) {
    at::Tensor term = x.narrow(1, before - lag, length).to(wide) *
                      weight.select(2, before - lag).squeeze(1).to(wide);
    if (reach.defined()) term = term.masked_fill((reach < lag).unsqueeze(2), 0);
    y = y + term;
  }
  return y.to(x.scalar_type());
}

at::Tensor attend_ring(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       at::Tensor ring_k, at::Tensor ring_v, const at::Tensor& positions,
                       const at::Tensor& lengths) {
  const int64_t batch = q.size(0), groups = ring_k.size(1), capacity = ring_k.size(2);
  const at::Tensor index = positions.remainder(capacity)
                               .view({batch, 1, 1, 1})
                               .expand({batch, groups, 1, ring_k.size(3)});
  const auto write = [&](at::Tensor& ring, const at::Tensor& value) {
    at::Tensor late = value.transpose(1, 2).to(ring.scalar_type());
    if (lengths.defined())
      late = at::where((lengths > 0).view({batch, 1, 1, 1}), late, ring.gather(2, index));
    ring.scatter_(2, index, late);
  };
  write(ring_k, k);
  write(ring_v, v);
  const at::Tensor mask = at::arange(capacity, positions.options()) <= positions;  // (B, C)
  // The heads that share keys are the queries of one head: nothing is repeated.
  const at::Tensor y = at::scaled_dot_product_attention(
      q.reshape({batch, groups, -1, q.size(3)}), ring_k.to(q.scalar_type()),
      ring_v.to(q.scalar_type()), mask.view({batch, 1, 1, capacity}));
  return y.reshape(q.sizes());
}

Attended linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& memory, const Span& span) {
  const int64_t heads = q.size(2);
  const int64_t ratio = heads / k.size(2);
  at::Tensor s =
      memory.defined() ? memory : at::zeros({q.size(0), heads, q.size(3), v.size(3)}, q.options());
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < q.size(1); ++t) {
    const at::Tensor key = k.select(1, t).repeat_interleave(ratio, 1).unsqueeze(3);
    const at::Tensor value = v.select(1, t).repeat_interleave(ratio, 1).unsqueeze(2);
    at::Tensor valid;
    if (span.lengths.defined()) valid = (span.lengths > t).view({-1, 1, 1, 1});
    at::Tensor next = s;
    if (span.starts.defined())
      next = next.masked_fill(span.starts.select(1, t).view({-1, 1, 1, 1}), 0);
    next = next + key * value;
    outputs.push_back(at::matmul(q.select(1, t).unsqueeze(2), next).squeeze(2));
    s = valid.defined() ? at::where(valid, next, s) : next;
  }
  return {at::stack(outputs, 1), s};
}

Scanned state_space_scan(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b,
                         const at::Tensor& c, const at::Tensor& memory, const Span& span,
                         OwnToken own) {
  const int64_t heads = x.size(3);
  const int64_t ratio = heads / b.size(3);
  const auto per_head = [&](const at::Tensor& rows, int64_t t) {  // (B, H, R, N)
    return rows.select(1, t).repeat_interleave(ratio, 2).transpose(1, 2);
  };
  at::Tensor s =
      memory.defined() ? memory : at::zeros({x.size(0), heads, x.size(4), b.size(4)}, x.options());
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < x.size(1); ++t) {
    at::Tensor next = s * a.select(1, t).exp().unsqueeze(2).unsqueeze(3);
    if (span.starts.defined())
      next = next.masked_fill(span.starts.select(1, t).view({-1, 1, 1, 1}), 0);
    const at::Tensor left = next;
    next = next + at::matmul(x.select(1, t).permute({0, 2, 3, 1}), per_head(b, t));
    const at::Tensor& read = own == OwnToken::read ? next : left;
    outputs.push_back(at::matmul(per_head(c, t), read.mT()).transpose(1, 2));
    s = span.lengths.defined() ? at::where((span.lengths > t).view({-1, 1, 1, 1}), next, s) : next;
  }
  return {at::stack(outputs, 1), s};
}

namespace {

// beta undefined: v is written as it is.
Attended recur(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& g,
               const at::Tensor& beta, const at::Tensor& memory, const Span& span) {
  const int64_t heads = std::max(q.size(2), v.size(2));
  const auto token = [&](const at::Tensor& x, int64_t t) {  // (B, H, ...)
    return x.select(1, t).repeat_interleave(heads / x.size(2), 1);
  };
  at::Tensor s =
      memory.defined() ? memory : at::zeros({q.size(0), heads, q.size(3), v.size(3)}, q.options());
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < q.size(1); ++t) {
    at::Tensor next = s;
    if (g.defined()) {
      const at::Tensor decay = token(g, t).exp();
      next = next * (g.dim() == 4 ? decay.unsqueeze(3) : decay.unsqueeze(2).unsqueeze(3));
    }
    if (span.starts.defined())
      next = next.masked_fill(span.starts.select(1, t).view({-1, 1, 1, 1}), 0);
    const at::Tensor key = token(k, t).unsqueeze(2);  // (B, H, 1, K)
    at::Tensor written = token(v, t).unsqueeze(2);
    if (beta.defined())
      written = (written - at::matmul(key, next)) * token(beta, t).unsqueeze(2).unsqueeze(3);
    next = next + key.mT() * written;
    outputs.push_back(at::matmul(token(q, t).unsqueeze(2), next).squeeze(2));
    s = span.lengths.defined() ? at::where((span.lengths > t).view({-1, 1, 1, 1}), next, s) : next;
  }
  return {at::stack(outputs, 1), s};
}

}  // namespace

Attended gated_delta_rule(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& g, const at::Tensor& beta, const at::Tensor& memory,
                          const Span& span) {
  return recur(q, k, v, g, beta, memory, span);
}

Attended gated_linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& g, const at::Tensor& memory, const Span& span) {
  return recur(q, k, v, g, {}, memory, span);
}

}  // namespace echo::reference
