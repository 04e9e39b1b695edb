#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>

#include <ATen/ATen.h>

namespace echo {

namespace {

// Inside a chunk every pair of tokens is scored; between chunks only K V numbers travel. 64 tokens
// were fastest on CPU for heads of 16 to 64, 128 about equal.
constexpr int64_t kChunk = 64;
// So many tokens are worked on at once: bounds the memory of scores and chunk states without
// gradients.
constexpr int64_t kSegment = 4096;

// Heads first, (B, H, T, width), groups repeated for the heads that read them.
at::Tensor heads_first(const at::Tensor& x, int64_t heads) {
  const at::Tensor turned = x.transpose(1, 2);
  const int64_t groups = x.size(2);
  if (groups == heads) return turned;
  return turned.unsqueeze(2)
      .expand({x.size(0), groups, heads / groups, x.size(1), x.size(3)})
      .reshape({x.size(0), heads, x.size(1), x.size(3)});
}

// Who sees whom inside a stretch of N chunks of C tokens. Undefined masks: nothing is cut by a
// start.
struct Masks {
  at::Tensor within;  // (B, 1, N, C, C) bool: the pair is in one document
  at::Tensor query;   // (B, 1, N, C, 1) bool: no start in the chunk up to the token
  at::Tensor key;     // (B, 1, N, C, 1) bool: no start in the chunk after the token
  at::Tensor across;  // (B or 1, N + 1, N + 1): 1 where what was before chunk i (i = N: after all)
                      // includes the memory that came in (j = 0) or chunk j - 1
};

Masks masks_of(const at::Tensor& starts, const at::TensorOptions& options, int64_t chunks) {
  Masks masks;
  if (!starts.defined()) {
    masks.across = at::ones({1, chunks + 1, chunks + 1}, options).tril_();
    return masks;
  }
  const int64_t batch = starts.size(0);
  // Starts up to every token, counted from the chunk's beginning.
  const at::Tensor local = starts.view({batch, chunks, -1}).cumsum(2);
  const at::Tensor in_chunk = local.narrow(2, local.size(2) - 1, 1);  // (B, N, 1)
  masks.within = (local.unsqueeze(3) == local.unsqueeze(2)).unsqueeze(1);
  masks.query = (local == 0).view({batch, 1, chunks, -1, 1});
  masks.key = (local == in_chunk).view({batch, 1, chunks, -1, 1});
  const at::Tensor before =
      at::cat({at::zeros({batch, 1}, local.options()), in_chunk.squeeze(2).cumsum(1)}, 1);
  masks.across = (before.unsqueeze(2) == before.unsqueeze(1)).to(options).tril_();
  return masks;
}

at::Tensor kept(const at::Tensor& x, const at::Tensor& mask) {
  return mask.defined() ? x.masked_fill(mask.logical_not(), 0) : x;
}

// q, k (B, H, T, K), v (B, H, T, V), memory (B, H, K, V), T a multiple of the chunk.
Attended attend_chunks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const at::Tensor& memory, const at::Tensor& starts, int64_t chunk) {
  const int64_t batch = q.size(0), heads = q.size(1), chunks = q.size(2) / chunk;
  const int64_t keys = q.size(3), values = v.size(3);
  const Masks masks = masks_of(starts, q.options(), chunks);
  const at::Tensor queries = q.reshape({batch, heads, chunks, chunk, keys});
  const at::Tensor key = k.reshape({batch, heads, chunks, chunk, keys});
  const at::Tensor value = v.reshape({batch, heads, chunks, chunk, values});

  const at::Tensor scores = kept(at::matmul(queries, key.transpose(3, 4)).tril(), masks.within);
  const at::Tensor sums = at::matmul(kept(key, masks.key).transpose(3, 4), value);  // (B,H,N,K,V)
  const at::Tensor parts = at::cat({memory.unsqueeze(2), sums}, 2).flatten(3);      // (B,H,N+1,KV)
  const at::Tensor memories =
      at::matmul(masks.across.unsqueeze(1), parts).view({batch, heads, chunks + 1, keys, values});
  const at::Tensor o = at::matmul(scores, value) +
                       at::matmul(kept(queries, masks.query), memories.narrow(2, 0, chunks));
  return {o.view({batch, heads, chunks * chunk, values}), memories.select(2, chunks)};
}

// One token.
Attended attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& memory, const at::Tensor& starts) {
  const at::Tensor before =
      starts.defined() ? memory.masked_fill(starts.view({-1, 1, 1, 1}), 0) : memory;
  const at::Tensor after = before + k.transpose(2, 3) * v;
  return {at::matmul(q, after), after};
}

Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& memory, const at::Tensor& starts) {
  const int64_t length = q.size(2);
  std::vector<at::Tensor> outputs;
  at::Tensor now = memory;
  for (int64_t first = 0; first < length;) {
    const int64_t left = length - first;
    const int64_t chunk = std::min(kChunk, left);
    const int64_t count = std::min(kSegment, left / chunk * chunk);
    const auto part = [&](const at::Tensor& x) { return x.narrow(2, first, count); };
    const at::Tensor cuts = starts.defined() ? starts.narrow(1, first, count) : starts;
    const Attended attended = count == 1
                                  ? attend_step(part(q), part(k), part(v), now, cuts)
                                  : attend_chunks(part(q), part(k), part(v), now,
                                                  cuts.defined() ? cuts.contiguous() : cuts, chunk);
    outputs.push_back(attended.o);
    now = attended.memory;
    first += count;
  }
  return {outputs.size() == 1 ? outputs[0] : at::cat(outputs, 2), now};
}

}  // namespace

Attended linear_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& memory, const Span& span) {
  const int64_t heads = q.size(2);
  ECHO_CHECK(heads % k.size(2) == 0 && k.size(2) == v.size(2) && q.size(3) == k.size(3),
             "linear attention of " << q.sizes() << ", " << k.sizes() << ", " << v.sizes());
  at::Tensor starts = span.starts;
  at::Tensor key = k;
  if (span.lengths.defined()) {
    const at::Tensor t = at::arange(q.size(1), span.lengths.options());
    const at::Tensor valid = t < span.lengths.unsqueeze(1);  // (B, T)
    key = k.masked_fill(valid.logical_not().view({q.size(0), q.size(1), 1, 1}), 0);
    if (starts.defined()) starts = starts.logical_and(valid);
  }
  const at::Tensor before =
      memory.defined() ? memory : at::zeros({q.size(0), heads, q.size(3), v.size(3)}, q.options());
  Attended attended =
      attend(q.transpose(1, 2), heads_first(key, heads), heads_first(v, heads), before, starts);
  attended.o = attended.o.transpose(1, 2);
  return attended;
}

}  // namespace echo
