#include "trainers/distributed/ranked_evaluator.h"

#include "trainers/step_data.h"

#include <ATen/ATen.h>

namespace echo {

namespace {

// Where the part of a rank begins, of so many rows or tokens.
int64_t part_begin(int64_t count, int64_t rank, int64_t ranks) { return count * rank / ranks; }

}  // namespace

RankedEvaluator::RankedEvaluator(Model& model, int64_t batch_size, Ranks& ranks,
                                 ModelEvaluator::Progress progress)
    : model_(model), batch_size_(batch_size), ranks_(ranks), progress_(std::move(progress)) {}

// As many samples on every group of ranks as one process would take.
int64_t RankedEvaluator::batch_size() const { return batch_size_ * ranks_.mesh().data; }

void RankedEvaluator::progress(int64_t done, int64_t total) {
  if (progress_) progress_(done, total);
}

Evaluator::Result RankedEvaluator::score(const Batch& batch) {
  if (ranks_.size() == 1) return ModelEvaluator(model_, batch_size_).score(batch);
  const int64_t rows = batch.inputs.size(0), length = batch.inputs.size(1);
  const int64_t first = part_begin(rows, ranks_.data_rank(), ranks_.mesh().data);
  const int64_t count = part_begin(rows, ranks_.data_rank() + 1, ranks_.mesh().data) - first;
  Result share{at::zeros({0}, at::kFloat), at::zeros({0}, at::kLong)};
  if (count > 0) share = score_share(rows_of(batch, first, count));
  return {gather(share.log_probability, rows, length), gather(share.prediction, rows, length)};
}

Evaluator::Result RankedEvaluator::score_share(const Batch& rows) {
  if (!ranks_.sequence()) return ModelEvaluator(model_, batch_size_).score(rows);
  const PlacedBatch placed =
      place_part(rows, ranks_.sequence_rank(), ranks_.mesh().sequence, model_.device());
  RankStretch stretch(*ranks_.sequence(), placed.part);
  ModelSpan span = placed.span();
  span.stretch = &stretch;
  return echo::score(model_, placed, span);
}

// Shares lie one after the other in order of rank, each (its rows, its tokens).
at::Tensor RankedEvaluator::gather(const at::Tensor& share, int64_t rows, int64_t length) {
  const Mesh& mesh = ranks_.mesh();
  Shares sizes;
  std::vector<int64_t> rows_of_rank;
  for (int64_t rank = 0; rank < ranks_.size(); ++rank) {
    const int64_t group = rank / mesh.sequence, part = rank % mesh.sequence;
    rows_of_rank.push_back(part_begin(rows, group + 1, mesh.data) -
                           part_begin(rows, group, mesh.data));
    sizes.push_back(rows_of_rank.back() * (part_begin(length, part + 1, mesh.sequence) -
                                           part_begin(length, part, mesh.sequence)));
  }
  const at::Tensor all = at::empty({rows * length}, share.options());
  const std::vector<at::Tensor> shares = all.split_with_sizes(sizes);
  shares[static_cast<size_t>(ranks_.rank())].copy_(share.reshape({-1}));
  ranks_.world().all_gather(all, sizes, "scores")->wait();
  std::vector<at::Tensor> groups;
  for (size_t rank = 0; rank < shares.size(); rank += static_cast<size_t>(mesh.sequence)) {
    if (rows_of_rank[rank] == 0) continue;
    std::vector<at::Tensor> parts;
    for (size_t part = 0; part < static_cast<size_t>(mesh.sequence); ++part)
      parts.push_back(shares[rank + part].view({rows_of_rank[rank], -1}));
    groups.push_back(at::cat(parts, 1));
  }
  return at::cat(groups, 0);
}

}  // namespace echo
