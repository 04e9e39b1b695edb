#include "mixers/ska/tokens.h"

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

Tensor where_any(const Tensor& lengths, const Tensor& last, const Tensor& previous) {
  return at::where((lengths > 0).view({-1, 1, 1}), last, previous);
}

// rows[b, index[b]] of (B, T, ...)
Tensor pick(const Tensor& rows, const Tensor& index) {
  std::vector<int64_t> shape(static_cast<size_t>(rows.dim()), 1);
  shape[0] = -1;
  std::vector<int64_t> wanted = rows.sizes().vec();
  wanted[1] = 1;
  return rows.gather(1, index.view(shape).expand(wanted)).squeeze(1);
}

}  // namespace

Tokens in_time(const Features& features) {
  return {in_time(features.keys), in_time(features.queries), in_time(features.values),
          features.starts,        features.lengths,          features.plain,
          features.filtered};
}

Features slice(const Features& features, int64_t first, int64_t last) {
  const auto part = [&](const Tensor& tensor) {
    return tensor.defined() ? tensor.slice(1, first, last) : tensor;
  };
  const auto rows = [&](const Heads& heads) {
    return Heads{part(heads.rows), part(heads.weight), heads.normalise};
  };
  const Tensor& lengths = features.lengths;
  return {rows(features.keys),
          rows(features.queries),
          rows(features.values),
          part(features.starts),
          lengths.defined() ? lengths - first : lengths,
          part(features.plain),
          part(features.filtered)};
}

Chunks in_chunks(const Features& features, const Tensor& previous, int64_t size) {
  Chunks chunks = in_chunks_without_keys(features, size);
  chunks.keys = in_chunks(features.keys, size, previous);
  return chunks;
}

Chunks in_chunks_without_keys(const Features& features, int64_t size) {
  const auto by_head = [&](const Tensor& shares) {  // (B, T, H, 1)
    return shares.defined() ? split_time(shares, size).transpose(2, 3).contiguous() : shares;
  };
  return {Tensor(),
          in_chunks(features.queries, size, Tensor()),
          in_chunks(features.values, size, Tensor()),
          features.starts.defined() ? split_time(features.starts, size) : Tensor(),
          by_head(features.plain),
          by_head(features.filtered)};
}

Tensor last_key(const Tensor& keys, const Tensor& previous, const Tensor& lengths) {
  if (!lengths.defined()) return keys.select(1, keys.size(1) - 1).clone();
  return where_any(lengths, pick(keys, (lengths - 1).clamp_min(0)), previous);
}

Tensor last_key(const Chunks& chunks, int64_t length, const Tensor& previous,
                const Tensor& lengths) {
  const int64_t size = chunks.keys.size(3) - 1;
  if (!lengths.defined()) {
    return chunks.keys.select(0, (length - 1) / size).select(2, 1 + (length - 1) % size).clone();
  }
  const Tensor last = (lengths - 1).clamp_min(0);
  const Tensor chunk =
      pick(chunks.keys.transpose(0, 1), last.floor_divide(size));  // (B, H, S + 1, R)
  return where_any(lengths, pick(chunk.transpose(1, 2), last.remainder(size) + 1), previous);
}

}  // namespace echo::ska
