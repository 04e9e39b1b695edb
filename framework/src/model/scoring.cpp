#include "framework/src/model/scoring.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

// Logits of a large vocabulary are formed for so many floats at a time in evaluation.
constexpr int64_t kLogitsAtOnce = 1 << 24;

// From pinned memory a GPU fetches by itself: nobody waits, neither here nor on the trainer's
// thread.
at::Tensor moved(const at::Tensor& tensor, at::Device device) {
  if (!tensor.defined()) return tensor;
  return (device.is_cuda() ? tensor.pin_memory() : tensor).to(device, /*non_blocking=*/true);
}

}  // namespace

ModelSpan PlacedBatch::span() const {
  return {.starts = batch.starts,
          .lengths = batch.lengths,
          .prefix = batch.prefix,
          .offsets = &offsets};
}

PlacedBatch place(const Batch& batch, at::Device device) {
  PlacedBatch placed;
  placed.offsets =
      host_offsets(batch.starts, batch.lengths, batch.inputs.size(0), batch.inputs.size(1));
  const at::Tensor labels = batch.labels.reshape({-1});
  const at::Tensor scored = labels.ne(-100).nonzero().squeeze(1);
  placed.scored_count = scored.numel();
  placed.scored = moved(scored, device);
  placed.targets = moved(labels.index_select(0, scored), device);
  placed.batch = {moved(batch.inputs, device), moved(batch.labels, device),
                  moved(batch.starts, device), moved(batch.lengths, device),
                  moved(batch.prefix, device), batch.slice};
  return placed;
}

PlacedBatch place_part(const Batch& whole, int64_t rank, int64_t ranks, at::Device device) {
  const int64_t length = whole.inputs.size(1);
  const Offsets offsets = host_offsets(whole.starts, whole.lengths, whole.inputs.size(0), length);
  const SequencePart part = part_of(offsets, length, rank, ranks, device);
  const auto cut = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(1, part.first(), part.count()) : tensor;
  };
  PlacedBatch placed =
      place({cut(whole.inputs), cut(whole.labels), cut(whole.starts),
             whole.lengths.defined() ? (whole.lengths - part.first()).clamp(0, part.count())
                                     : whole.lengths,
             cut(whole.prefix), whole.slice},
            device);
  placed.part = part;
  return placed;
}

at::Tensor loss_sum(Model& model, const PlacedBatch& batch, const ModelSpan& span) {
  const at::Tensor hidden = model.hidden(batch.batch.inputs, span);
  const at::Tensor rows = hidden.flatten(0, 1).index_select(0, batch.scored);
  const at::Tensor logits = model.logits(rows);
  if (span.probe) span.probe->record("logits", logits);
  return at::cross_entropy_loss(logits, batch.targets, {}, at::Reduction::Sum);
}

Evaluator::Result score(Model& model, const PlacedBatch& placed, const ModelSpan& span) {
  c10::NoGradGuard no_grad;
  const at::Tensor& labels = placed.batch.labels;
  const at::Tensor rows =
      model.hidden(placed.batch.inputs, span).flatten(0, 1).index_select(0, placed.scored);
  const at::Tensor log_probability = at::zeros({labels.numel()}, rows.options().dtype(at::kFloat));
  const at::Tensor prediction = at::full({labels.numel()}, -100, placed.scored.options());
  const int64_t step = std::max<int64_t>(1, kLogitsAtOnce / model.vocabulary());
  for (int64_t first = 0; first < placed.scored_count; first += step) {
    const int64_t count = std::min(step, placed.scored_count - first);
    const at::Tensor where = placed.scored.narrow(0, first, count);
    const at::Tensor logits = model.logits(rows.narrow(0, first, count));
    const at::Tensor targets = placed.targets.narrow(0, first, count).unsqueeze(1);
    const at::Tensor scores = logits.log_softmax(-1).gather(1, targets).squeeze(1);
    log_probability.index_copy_(0, where, scores.to(at::kFloat));
    prediction.index_copy_(0, where, logits.argmax(-1));
  }
  return {log_probability.view(labels.sizes()).to(at::kCPU),
          prediction.view(labels.sizes()).to(at::kCPU)};
}

ModelEvaluator::ModelEvaluator(Model& model, int64_t batch_size, Progress progress)
    : model_(model), batch_size_(batch_size), progress_(std::move(progress)) {}

void ModelEvaluator::progress(int64_t done, int64_t total) {
  if (progress_) progress_(done, total);
}

Evaluator::Result ModelEvaluator::score(const Batch& batch) {
  const PlacedBatch placed = place(batch, model_.device());
  return echo::score(model_, placed, placed.span());
}

}  // namespace echo
