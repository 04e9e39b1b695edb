#include "framework/src/ops/borders.h"
#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/stretch.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace echo {

namespace {

// So many chunks are worked on at once: bounds the memory of scores and chunk states without
// gradients, and the work of passing states on, which is quadratic in them.
constexpr int64_t kChunksAtOnce = 32;

// Inside a chunk of C tokens every pair is scored, C (K + V) per token; between chunks only K V
// numbers travel.
int64_t chunk_size(int64_t keys, int64_t values) { return keys + values < 96 ? 32 : 64; }

// (B, T, G, width) -> (B, H, T, width), groups repeated for the heads that read them.
at::Tensor heads_first(const at::Tensor& x, int64_t heads) {
  const int64_t groups = x.size(2);
  const at::Tensor turned = x.transpose(1, 2);
  if (groups == heads) return turned;
  return turned.unsqueeze(2)
      .expand({x.size(0), groups, heads / groups, x.size(1), x.size(3)})
      .reshape({x.size(0), heads, x.size(1), x.size(3)});
}

// Who sees whom among N chunks of C tokens.
struct Masks {
  at::Tensor within;  // (C, C) or (B, 1, N, C, C): 1 where the token may read the other
  at::Tensor query;   // (B, 1, N, C, 1) bool: no start in the chunk up to the token; undefined: all
  at::Tensor key;     // (B, 1, N, C, 1) bool: no start in the chunk after the token; undefined: all
  at::Tensor across;  // (B or 1, 1, N + 1, N + 1): 1 where the memory before chunk i (i = N: after
                      // all) includes what came in (j = 0) or chunk j - 1
};

Masks masks_of(const at::Tensor& starts, const at::TensorOptions& options, int64_t chunks,
               int64_t chunk) {
  Masks masks;
  masks.within = at::ones({chunk, chunk}, options).tril_();
  if (!starts.defined()) {
    masks.across = at::ones({1, 1, chunks + 1, chunks + 1}, options).tril_();
    return masks;
  }
  const int64_t batch = starts.size(0);
  // Starts up to every token, counted from the chunk's beginning.
  const at::Tensor local = starts.reshape({batch, 1, chunks, chunk}).cumsum(3);
  const at::Tensor in_chunk = local.narrow(3, chunk - 1, 1);  // (B, 1, N, 1)
  masks.within = (local.unsqueeze(4) == local.unsqueeze(3)) * masks.within;
  masks.query = (local == 0).unsqueeze(4);
  masks.key = (local == in_chunk).unsqueeze(4);
  const at::Tensor before = at::constant_pad_nd(in_chunk.squeeze(3).cumsum(2), {1, 0});
  masks.across = (before.unsqueeze(3) == before.unsqueeze(2)).to(options).tril_();
  return masks;
}

at::Tensor kept(const at::Tensor& x, const at::Tensor& mask) {
  return mask.defined() ? x.masked_fill(mask.logical_not(), 0) : x;
}

enum class After { forgotten, kept };

// Memories (B, H, N, K, V) before each chunk, and after the last one; what nobody reads is
// undefined.
struct Memories {
  at::Tensor before;
  at::Tensor after;
};

Memories pass_on(const at::Tensor& k, const at::Tensor& v, const at::Tensor& memory,
                 const Masks& masks, After after) {
  const int64_t chunks = k.size(2);
  if (!memory.defined() && chunks == 1 && after == After::forgotten) return {};
  const std::vector<int64_t> shape = {k.size(0), k.size(1), -1, k.size(4), v.size(4)};
  at::Tensor parts = at::matmul(kept(k, masks.key).transpose(3, 4), v).flatten(3);  // (B, H, N, KV)
  at::Tensor across = masks.across;
  if (memory.defined()) {
    parts = at::cat({memory.flatten(2).unsqueeze(2), parts}, 2);
  } else {
    across = across.narrow(3, 1, chunks);
  }
  Memories memories;
  if (memory.defined() || chunks > 1)
    memories.before = at::matmul(across.narrow(2, 0, chunks), parts).view(shape);
  if (after == After::kept)
    memories.after = at::matmul(across.narrow(2, chunks, 1), parts).view(shape).squeeze(2);
  return memories;
}

// q, k (B, H, T, K), v (B, H, T, V), memory (B, H, K, V) or undefined, T a multiple of the chunk.
Attended attend_chunks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const at::Tensor& memory, const at::Tensor& starts, int64_t chunk,
                       After after) {
  const int64_t chunks = q.size(2) / chunk;
  // Contiguous once: every product would make a copy of its own.
  const auto in_chunks = [&](const at::Tensor& x) {
    return x.reshape({x.size(0), x.size(1), chunks, chunk, x.size(3)}).contiguous();
  };
  const at::Tensor queries = in_chunks(q);
  const at::Tensor keys = in_chunks(k);
  const at::Tensor values = in_chunks(v);
  const Masks masks = masks_of(starts, q.options(), chunks, chunk);
  const at::Tensor scores = at::matmul(queries, keys.transpose(3, 4)) * masks.within;
  at::Tensor o = at::matmul(scores, values);
  const Memories memories = pass_on(keys, values, memory, masks, after);
  if (memories.before.defined()) o = o + at::matmul(kept(queries, masks.query), memories.before);
  return {o.flatten(2, 3), memories.after};
}

// One token.
Attended attend_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& memory, const at::Tensor& starts) {
  const std::vector<int64_t> shape = {q.size(0), q.size(1), q.size(3), v.size(3)};
  const at::Tensor key = k.reshape({-1, q.size(3), 1});
  const at::Tensor value = v.reshape({-1, 1, v.size(3)});
  at::Tensor after;
  if (memory.defined()) {
    const at::Tensor before =
        starts.defined() ? memory.masked_fill(starts.view({-1, 1, 1, 1}), 0) : memory;
    after = at::baddbmm(before.flatten(0, 1), key, value);
  } else {
    after = at::bmm(key, value);
  }
  const at::Tensor o = at::bmm(q.reshape({-1, 1, q.size(3)}), after);
  return {o.view({q.size(0), q.size(1), 1, v.size(3)}), after.view(shape)};
}

// Sizes of the parts that are worked on one after another: many chunks, what is left of whole
// chunks, and the tokens that fill none.
std::vector<int64_t> part_sizes(int64_t length, int64_t chunk) {
  std::vector<int64_t> sizes;
  for (int64_t left = length; left > 0; left -= sizes.back())
    sizes.push_back(left < chunk ? left : std::min(kChunksAtOnce, left / chunk) * chunk);
  return sizes;
}

Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& memory, const at::Tensor& starts) {
  const int64_t chunk = chunk_size(q.size(3), v.size(3));
  const std::vector<int64_t> sizes = part_sizes(q.size(2), chunk);
  const std::vector<at::Tensor> queries = q.split_with_sizes(sizes, 2);
  const std::vector<at::Tensor> keys = k.split_with_sizes(sizes, 2);
  const std::vector<at::Tensor> values = v.split_with_sizes(sizes, 2);
  std::vector<at::Tensor> cuts(sizes.size());
  if (starts.defined()) cuts = starts.split_with_sizes(sizes, 1);
  std::vector<at::Tensor> outputs;
  at::Tensor now = memory;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const bool read_later = memory.defined() || i + 1 < sizes.size();
    const Attended part =
        sizes[i] == 1
            ? attend_step(queries[i], keys[i], values[i], now, cuts[i])
            : attend_chunks(queries[i], keys[i], values[i], now, cuts[i], std::min(chunk, sizes[i]),
                            read_later ? After::kept : After::forgotten);
    outputs.push_back(part.o);
    now = part.memory;
  }
  return {outputs.size() == 1 ? outputs[0] : at::cat(outputs, 2),
          memory.defined() ? now : at::Tensor()};
}

// A part of a sequence: what it adds to the memory is on its way while its own tokens read each
// other. q (B, H, T, K), k (B, T, G, K), v (B, T, G, V).
Attended attend_part(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& starts, Stretch& stretch) {
  const int64_t heads = q.size(1);
  const ops::Borders borders(starts);
  const at::Tensor added = at::matmul(ops::cleared(k, borders.cut_out).permute({0, 2, 3, 1}),
                                      v.transpose(1, 2));  // (B, G, K, V)
  Arrival arriving = stretch.prefix_sum(added, "the state of linear attention");
  Attended attended = attend(q, heads_first(k, heads), heads_first(v, heads), at::Tensor(), starts);
  const at::Tensor reading = ops::cleared(q.transpose(1, 2), borders.cut_in).transpose(1, 2);
  attended.o = attended.o + at::matmul(reading, ops::repeat_groups(arriving.finish(), heads));
  return attended;
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
    const at::Tensor pad = padding(span.lengths, q.size(1));
    key = k.masked_fill(pad.view({q.size(0), q.size(1), 1, 1}), 0);
    if (starts.defined()) starts = starts.logical_and(pad.logical_not());
  }
  ECHO_CHECK(!span.stretch || !memory.defined(), "a memory beside other ranks");
  Attended attended = span.stretch ? attend_part(q.transpose(1, 2), key, v, starts, *span.stretch)
                                   : attend(q.transpose(1, 2), heads_first(key, heads),
                                            heads_first(v, heads), memory, starts);
  attended.o = attended.o.transpose(1, 2);
  return attended;
}

}  // namespace echo
