#include "mixers/ska/parts.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// (B, T, H, .) -> (B, H, T, .)
Tensor by_head(const Tensor& rows) { return rows.transpose(1, 2); }

// What a part adds by itself.
struct Sums {
  Statistics statistics;
  Tensor first, last;  // (B, H, R) keys; undefined where no pairs are read
  Tensor value;        // (B, H, P) the first; only with value_lag

  std::vector<Tensor*> tensors() {
    std::vector<Tensor*> all;
    for (Tensor* tensor : {&statistics.G, &statistics.M, &statistics.C, &first, &last, &value}) {
      if (tensor->defined()) all.push_back(tensor);
    }
    return all;
  }
};

Sums sums_of(const Features& features, const Reading& reading) {
  const Tensor keys = in_time(features.keys), values = in_time(features.values);
  const int64_t length = keys.size(1);
  Tensor ends = keys, end_values = values, pair_keys = keys, pair_values = values;
  if (features.starts.defined()) {
    const auto without = [](const Tensor& rows, const Tensor& mask) {
      return rows.masked_fill(mask.unsqueeze(2).unsqueeze(3), 0);
    };
    const Tensor document = features.starts.cumsum(1);
    const Tensor over = document != document.narrow(1, length - 1, 1);
    ends = without(keys, over);
    end_values = without(values, over);
    const Tensor no_pair = over.logical_or(features.starts);
    pair_keys = without(keys, no_pair);
    pair_values = without(values, no_pair);
  }
  const auto pairs = [&](const Tensor& now) {  // sum over t >= 1 of now_t z_{t-1}^T
    return at::matmul(by_head(now.narrow(1, 1, length - 1)).mT(),
                      by_head(keys.narrow(1, 0, length - 1)));
  };
  Sums sums;
  sums.statistics.G = at::matmul(by_head(ends).mT(), by_head(keys));
  if (reading.power > 0) sums.statistics.M = pairs(pair_keys);
  sums.statistics.C =
      reading.value_lag ? pairs(pair_values) : at::matmul(by_head(end_values).mT(), by_head(keys));
  if (reading.power == 0 && !reading.value_lag) return sums;
  sums.first = keys.select(1, 0);
  sums.last = last_key(keys, at::zeros_like(sums.first), features.lengths);
  if (reading.value_lag) sums.value = values.select(1, 0);
  return sums;
}

Tensor pack(Sums& sums) {
  std::vector<Tensor> flat;
  for (const Tensor* tensor : sums.tensors()) flat.push_back(tensor->flatten(1));
  return at::cat(flat, 1);
}

// `like` has the shapes.
Sums unpack(const Tensor& packed, Sums like) {
  int64_t first = 0;
  for (Tensor* tensor : like.tensors()) {
    const int64_t count = tensor->numel() / tensor->size(0);
    *tensor = packed.narrow(1, first, count).view(tensor->sizes());
    first += count;
  }
  return like;
}

Tensor outer_product(const Tensor& rows, const Tensor& columns) {
  return rows.unsqueeze(3) * columns.unsqueeze(2);
}

// sums += part, which begins behind the key `last`; broken (B) bool or undefined: the rows in which
// a document begins in the part forget what was before.
void add(Statistics& sums, const Sums& part, const Tensor& last, const Tensor& broken,
         const Reading& reading) {
  const auto kept = [&](const Tensor& before) {
    return broken.defined() ? before.masked_fill(broken.view({-1, 1, 1, 1}), 0) : before;
  };
  sums.G = kept(sums.G) + part.statistics.G;
  if (sums.M.defined()) sums.M = kept(sums.M + outer_product(part.first, last)) + part.statistics.M;
  Tensor before = sums.C;
  if (reading.value_lag) before = before + outer_product(part.value, last);
  sums.C = kept(before) + part.statistics.C;
}

}  // namespace

std::function<Earlier()> earlier_parts(const Features& features, const Reading& reading,
                                       Stretch& stretch) {
  Sums own = sums_of(features, reading);
  Arrival arriving = stretch.gather(pack(own), "the statistics of ska");
  return [own, arriving, reading, &stretch]() mutable {
    const Tensor parts = arriving.finish();
    Earlier earlier;
    for (int64_t rank = 0; rank < stretch.rank(); ++rank) {
      const Sums part = unpack(parts[rank], own);
      if (rank == 0) {
        earlier.statistics = part.statistics;
      } else {
        const Tensor& unbroken = stretch.unbroken();
        add(earlier.statistics, part, earlier.last,
            unbroken.defined() ? unbroken[rank].logical_not() : unbroken, reading);
      }
      earlier.last = part.last;
    }
    return earlier;
  };
}

}  // namespace echo::ska
