#include "framework/src/ops/delta_chunks.h"

#include "framework/src/ops/channel_scores.h"
#include "framework/src/ops/chunks.h"
#include "framework/src/ops/triangle.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ops {

namespace {

using at::Tensor;

constexpr int64_t kChunk = 64;

struct Sizes {
  int64_t batch, length, groups, heads, keys, values;  // B, T, G, H, K, V
  int64_t chunk, chunks;                               // tokens of a chunk, and how many

  explicit Sizes(const DeltaInputs& in)
      : batch(in.q.size(0)),
        length(in.q.size(1)),
        groups(in.q.size(2)),
        heads(in.v.size(2)),
        keys(in.q.size(3)),
        values(in.v.size(3)),
        chunk(delta_chunk(length)),
        chunks((length + chunk - 1) / chunk) {}

  int64_t ratio() const { return heads / groups; }
  int64_t padding() const { return chunks * chunk - length; }
};

// (B, T, ...) -> (chunks, B, C, ...), zeros where the last chunk has no token.
Tensor in_chunks(const Tensor& x, const Sizes& sizes) {
  return pad_time(x, sizes.padding()).unflatten(1, {sizes.chunks, sizes.chunk}).transpose(0, 1);
}

// (B, T, H, W) -> (chunks, B H, C, W), (B, T, H) -> (chunks, B H, C)
Tensor per_head(const Tensor& x, const Sizes& sizes) {
  return in_chunks(x, sizes).transpose(2, 3).contiguous().flatten(1, 2);
}

// The way back.
Tensor in_time(const Tensor& x, const Sizes& sizes) {
  return x
      .unflatten(1, {sizes.batch, -1})  // (chunks, B, H, C, ...)
      .transpose(2, 3)
      .transpose(0, 1)
      .flatten(1, 2)
      .narrow(1, 0, sizes.length);
}

// (chunks, B G, ...) -> (chunks, B G, 1, ...), which spreads over the heads of a group in
// (chunks, B G, ratio, ...).
Tensor spread(const Tensor& groups) { return groups.unsqueeze(2); }

Tensor by_group(const Tensor& heads, const Sizes& sizes) {
  return heads.unflatten(1, {-1, sizes.ratio()});
}

Tensor sum_heads(const Tensor& heads, const Sizes& sizes) {
  return sizes.ratio() == 1 ? heads : by_group(heads, sizes).sum(2);
}

// Which pairs and memories a token may read: what starts leave. (chunks, B 1, ...)
struct Masks {
  Tensor pairs;   // (chunks, B, 1, C, C) bool: true where a start stands between; or undefined
  Tensor before;  // (chunks, B, 1, C) bool: true where one stands between the chunk's border and it
  Tensor after;   // (chunks, B, 1, C) bool: true where one stands between it and the chunk's end
  Tensor any;     // (chunks, B, 1) bool

  Masks(const Tensor& starts, const Sizes& sizes) {
    if (!starts.defined()) return;
    const Tensor count = in_chunks(starts, sizes).cumsum(2).unsqueeze(2);  // (chunks, B, 1, C)
    const Tensor last = count.narrow(3, sizes.chunk - 1, 1);
    pairs = count.unsqueeze(4) != count.unsqueeze(3);
    before = count != 0;
    after = count != last;
    any = last.squeeze(3) != 0;
  }

  // x (chunks, B H, ...): zeros where the mask says so.
  static void clear(Tensor& x, const Tensor& mask, const Sizes& sizes) {
    if (!mask.defined()) return;
    Tensor fitting = mask;
    const int64_t dims = x.dim() + 1;  // batch and heads apart
    while (fitting.dim() < dims) fitting = fitting.unsqueeze(fitting.dim());
    x.unflatten(1, {sizes.batch, -1}).masked_fill_(fitting, 0);
  }
};

// A stretch in chunks: scores, and what goes in and out of the memory.
struct Chunks {
  Sizes sizes;
  Masks masks;
  Tensor q, k, v;  // (chunks, B G or B H, C, .)
  Tensor beta;     // (chunks, B H, C, 1) or undefined
  Tensor sums;     // G: (chunks, B H, C) or (chunks, B H, C, K) or undefined
  Tensor fade;     // one decay per head: exp(G_i - G_j), (chunks, B H, C, C), 0 for j > i
  Tensor in, out;  // exp(G), exp(G_end - G): (chunks, B H, C, K or 1)
  Tensor across;   // exp(G_end): (chunks, B H, K or 1, 1)
  Tensor of_queries, of_keys;       // A, N: (chunks, B H, C, C)
  Tensor reading, asking, writing;  // exp(G) q, exp(G) k, exp(G_end - G) k: (chunks, B H, C, K)
  Tensor inverse;                   // (I + N Diag(beta))^-1

  explicit Chunks(const DeltaInputs& inputs)
      : sizes(inputs),
        masks(inputs.starts, sizes),
        q(per_head(inputs.q, sizes)),
        k(per_head(inputs.k, sizes)),
        v(per_head(inputs.v, sizes)) {
    if (inputs.beta.defined()) beta = per_head(inputs.beta, sizes).unsqueeze(3);
    if (per_channel(inputs)) {
      sums = per_head(inputs.g, sizes).cumsum(2);
    } else {
      const Tensor g = inputs.g.defined()
                           ? inputs.g
                           : at::zeros({sizes.batch, sizes.length, sizes.heads}, v.options());
      sums = per_head(g, sizes).cumsum(2).unsqueeze(3);
    }
    in = sums.exp();
    const Tensor end = sums.narrow(2, sizes.chunk - 1, 1);
    out = (end - sums).exp_();
    across = end.exp().mT();
    Masks::clear(in, masks.before, sizes);
    Masks::clear(out, masks.after, sizes);
    Masks::clear(across, masks.any, sizes);
    reading = times(in, q);
    writing = times(out, k);
    if (beta.defined()) asking = times(in, k);
    if (per_channel(inputs)) {
      score_channels();
    } else {
      score_heads();
    }
    if (beta.defined()) inverse = unit_lower_inverse(of_keys * beta.mT());
  }

  static bool per_channel(const DeltaInputs& inputs) {
    return inputs.g.defined() && inputs.g.dim() == 4;
  }

  // decay (chunks, B H, C, K or 1) times what a group has
  Tensor times(const Tensor& decay, const Tensor& x) const {
    return (by_group(decay, sizes) * spread(x)).flatten(1, 2);
  }

  void score_heads() {
    // Masked before exp: a difference that is not wanted may be large.
    const double none = -std::numeric_limits<double>::infinity();
    const Tensor later =
        at::ones({sizes.chunk, sizes.chunk}, v.options().dtype(at::kBool)).triu_(1);
    fade = (sums - sums.mT()).masked_fill_(later, none).exp_();
    Masks::clear(fade, masks.pairs, sizes);
    of_queries = times(fade, product(q, k.mT()));
    if (beta.defined()) of_keys = times(fade, product(k, k.mT())).tril_(-1);
  }

  void score_channels() {
    const ChannelScores scores =
        channel_scores(q, k, sums, beta.defined() ? KeyScores::wanted : KeyScores::unwanted);
    of_queries = scores.queries;
    of_keys = scores.keys;
    Masks::clear(of_queries, masks.pairs, sizes);
    if (beta.defined()) Masks::clear(of_keys, masks.pairs, sizes);
  }
};

// beta e of every chunk, and the memories on the way.
struct Passed {
  Tensor written;  // (chunks, B H, C, V)
  Tensor before;   // (chunks + 1, B H, K, V)
};

Passed pass_on(const Chunks& chunks, const Tensor& memory) {
  const Sizes& sizes = chunks.sizes;
  Passed passed;
  passed.before = at::empty({sizes.chunks + 1, sizes.batch * sizes.heads, sizes.keys, sizes.values},
                            chunks.v.options());
  if (memory.defined()) {
    passed.before.select(0, 0).copy_(memory.flatten(0, 1));
  } else {
    passed.before.select(0, 0).zero_();
  }
  Tensor own, asking;
  if (chunks.beta.defined()) {
    own = product(chunks.inverse, chunks.v).mul_(chunks.beta);
    asking = product(chunks.inverse, chunks.asking).mul_(chunks.beta);
  }
  passed.written = chunks.beta.defined() ? own : chunks.v;
  for (int64_t i = 0; i < sizes.chunks; ++i) {
    const Tensor before = passed.before.select(0, i);
    Tensor written = passed.written.select(0, i), after = passed.before.select(0, i + 1);
    if (chunks.beta.defined()) written.baddbmm_(asking.select(0, i), before, 1, -1);
    at::mul_out(after, before, chunks.across.select(0, i));
    after.baddbmm_(chunks.writing.select(0, i).mT(), written);
  }
  return passed;
}

// Gradients of what a chunk writes (beta e) and of the memory after it, last chunk to first.
struct PassedBack {
  Tensor written;  // (chunks, B H, C, V)
  Tensor after;    // (chunks, B H, K, V)
  Tensor memory;   // (B H, K, V)
};

PassedBack pass_back(const Chunks& chunks, const Tensor& d_o, const Tensor& d_after) {
  const Sizes& sizes = chunks.sizes;
  PassedBack back;
  back.written = product(chunks.of_queries.mT(), d_o);
  const Tensor asked = product(chunks.reading.mT(), d_o);
  back.after = at::empty_like(asked);
  Tensor asking;
  if (chunks.beta.defined()) asking = product(chunks.inverse, chunks.asking).mul_(chunks.beta).mT();
  Tensor now = d_after.defined() ? d_after.flatten(0, 1) : at::zeros_like(asked.select(0, 0));
  for (int64_t i = sizes.chunks - 1; i >= 0; --i) {
    back.after.select(0, i).copy_(now);
    Tensor written = back.written.select(0, i);
    written.baddbmm_(chunks.writing.select(0, i), now);
    now = at::addcmul(asked.select(0, i), now, chunks.across.select(0, i));
    if (asking.defined()) now.baddbmm_(asking.select(0, i), written, 1, -1);
  }
  back.memory = now;
  return back;
}

// Gradients of the scores, and of exp(G) q, exp(G) k, exp(G_end - G) k.
struct ScoreGradients {
  Tensor of_queries, of_keys, reading, asking, writing;
};

// q, k and, per channel, G from those.
void back_to_heads(const Chunks& chunks, const ScoreGradients& d, DeltaInputs& gradients) {
  const Sizes& sizes = chunks.sizes;
  const Tensor pairs = sum_heads(d.of_queries * chunks.fade, sizes);
  Tensor dq = product(pairs, chunks.k) + sum_heads(d.reading * chunks.in, sizes);
  Tensor dk = product(pairs.mT(), chunks.q);
  Tensor direct = d.writing * chunks.out;
  if (chunks.beta.defined()) {
    const Tensor own = sum_heads((d.of_keys * chunks.fade).tril_(-1), sizes);
    dk = dk + product(own + own.mT(), chunks.k);
    direct.addcmul_(d.asking, chunks.in);
  }
  gradients.q = in_time(dq, sizes);
  gradients.k = in_time(dk + sum_heads(direct, sizes), sizes);
}

// A gradient of running sums G (chunks, B H, C, K or 1), that of the chunk's last one added: of g.
Tensor of_decays(const Tensor& dsums, const Tensor& at_end, const Sizes& sizes) {
  Tensor sums = dsums.clone();
  sums.narrow(2, sizes.chunk - 1, 1).add_(at_end);
  const Tensor running = sums.cumsum(2);
  return in_time(running.narrow(2, sizes.chunk - 1, 1) - running + sums, sizes);
}

void back_to_channels(const Chunks& chunks, const ScoreGradients& d, const Tensor& at_end,
                      DeltaInputs& gradients) {
  const Sizes& sizes = chunks.sizes;
  ChannelScores scores{d.of_queries.clone(), {}};
  Masks::clear(scores.queries, chunks.masks.pairs, sizes);
  if (chunks.beta.defined()) {
    scores.keys = d.of_keys.clone();
    Masks::clear(scores.keys, chunks.masks.pairs, sizes);
  }
  const ChannelGradients back = channel_scores_backward(chunks.q, chunks.k, chunks.sums, scores);
  const Tensor dq = at::addcmul(back.q, d.reading, chunks.in);
  const Tensor read = at::addcmul(back.read, d.writing, chunks.out);
  Tensor dsums = chunks.q * dq - chunks.k * read, dk = read;
  if (chunks.beta.defined()) {
    const Tensor reader = at::addcmul(back.reader, d.asking, chunks.in);
    dsums.addcmul_(chunks.k, reader);
    dk = read + reader;
  }
  gradients.q = in_time(dq, sizes);
  gradients.k = in_time(dk, sizes);
  gradients.g = of_decays(dsums, at_end.mT(), sizes);
}

}  // namespace

int64_t delta_chunk(int64_t length) {
  int64_t chunk = 1;
  while (chunk < std::min(length, kChunk)) chunk *= 2;
  return chunk;
}

DeltaOutputs delta_forward(const DeltaInputs& inputs) {
  const Chunks chunks(inputs);
  const Passed passed = pass_on(chunks, inputs.memory);
  Tensor o = product(chunks.of_queries, passed.written);
  const Tensor before = passed.before.narrow(0, 0, chunks.sizes.chunks);
  o.flatten(0, 1).baddbmm_(chunks.reading.flatten(0, 1), before.flatten(0, 1));
  return {in_time(o, chunks.sizes), passed.before};
}

DeltaInputs delta_backward(const DeltaInputs& inputs, const DeltaOutputs& outputs,
                           const Tensor& d_o, const Tensor& d_after) {
  const Chunks chunks(inputs);
  const Sizes& sizes = chunks.sizes;
  const Tensor before = outputs.before.narrow(0, 0, sizes.chunks);
  const Tensor after = outputs.before.narrow(0, 1, sizes.chunks);
  const Tensor dy = per_head(d_o, sizes);
  const PassedBack back = pass_back(chunks, dy, d_after);

  DeltaInputs gradients;
  gradients.memory = back.memory.view({sizes.batch, sizes.heads, sizes.keys, sizes.values});
  ScoreGradients d;
  Tensor dv = back.written, written = chunks.v;
  if (chunks.beta.defined()) {
    Tensor left = chunks.v.clone();
    left.flatten(0, 1).baddbmm_(chunks.asking.flatten(0, 1), before.flatten(0, 1), 1, -1);
    const Tensor error = product(chunks.inverse, left);  // e
    written = error * chunks.beta;
    dv = product(chunks.inverse.mT(), back.written * chunks.beta);
    d.of_keys = product(dv, error.mT()).neg_();  // of N Diag(beta)
    const Tensor own = (error * back.written).sum(3, true);
    const Tensor dbeta = own + (d.of_keys * chunks.of_keys).sum(2, true).mT();
    gradients.beta = in_time(dbeta.squeeze(3), sizes);
    d.of_keys.mul_(chunks.beta.mT());
    d.asking = product(dv, before.mT()).neg_();
  }
  d.of_queries = product(dy, written.mT());
  d.reading = product(dy, before.mT());
  d.writing = product(written, back.after.mT());
  gradients.v = in_time(dv, sizes);
  if (Chunks::per_channel(inputs)) {
    // (chunks, B H, K, 1)
    back_to_channels(chunks, d, (after * back.after).sum(3, true), gradients);
    return gradients;
  }
  back_to_heads(chunks, d, gradients);
  if (inputs.g.defined()) {
    // A pair (i, j) adds to the gradient of G_i what it takes from that of G_j; summed up, what is
    // left is o . do - v . dv.
    const Tensor sums = (per_head(outputs.o, sizes) * dy).sum(3) - (chunks.v * dv).sum(3);
    const Tensor at_end = (after * back.after).sum({2, 3}).unsqueeze(2);
    gradients.g = of_decays(sums, at_end, sizes);
  }
  return gradients;
}

}  // namespace echo::ops
