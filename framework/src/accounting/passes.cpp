#include "framework/src/accounting/passes.h"

#include "framework/src/model/scoring.h"

#include <echo/random.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kNumbers = int64_t{3} << 18;  // of x at the largest size: 1024 tokens of 768
constexpr int64_t kShortest = 256;              // lengths up to here are measured themselves
constexpr int64_t kLongest = 4096;              // of the lengths that stand for longer ones
constexpr int64_t kTokens = 128;                // of the smaller of the frame's sizes

std::vector<int64_t> distinct(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// A quarter of the length at most, where it is not short itself, and fractions of that: mixers that
// work chunk by chunk see whole chunks.
std::vector<int64_t> lengths_of(const Workload& workload, int64_t width) {
  const auto whole = [](int64_t length) {
    return std::max(kShortest, length / kShortest * kShortest);
  };
  int64_t largest = workload.length;
  if (largest > kShortest)
    largest = std::min({whole(largest / 4), whole(kNumbers / width), kLongest});
  std::vector<int64_t> lengths;
  for (const int64_t part : {8, 4, 2, 1}) lengths.push_back(std::max<int64_t>(1, largest / part));
  return distinct(lengths);
}

// The step's own, or two from which it follows.
std::vector<int64_t> batches_of(const Workload& workload, int64_t width, int64_t length) {
  const int64_t rows = workload.rows(), room = std::max<int64_t>(2, kNumbers / (width * length));
  if (rows <= room && !workload.varies) return {rows};
  const int64_t largest = std::clamp<int64_t>(rows, 2, room);
  return distinct({largest / 2, largest});
}

// Auxiliary losses are a part of the backward pass.
class LossProbe : public Probe {
 public:
  void record(const std::string&, const at::Tensor&) override {}
  void loss(const std::string&, const at::Tensor& scalar) override { losses.push_back(scalar); }
  std::vector<at::Tensor> losses;
};

// Masks of one kind with the task's: a document that begins in the middle, full lengths, and a
// prefix of half the tokens.
struct Masks {
  Masks(const Workload& workload, int64_t batch, int64_t length) {
    const auto half = [&] { return at::zeros({batch, length}, at::kBool); };
    if (workload.starts) (starts = half()).narrow(1, length / 2, 1).fill_(true);
    if (workload.prefix) (prefix = half()).narrow(1, 0, length / 2).fill_(true);
    if (workload.lengths) lengths = at::full({batch}, length, at::kLong);
    offsets = host_offsets(starts, lengths, batch, length);
  }
  at::Tensor starts, lengths, prefix;
  Offsets offsets;
};

// The trainer's own: with several parts gradients are there when a part begins.
void prepare_gradients(const Module& module, const Workload& workload) {
  for (const Parameter& parameter : module.parameters()) {
    at::Tensor& gradient = at::Tensor(parameter.storage).mutable_grad();
    gradient.reset();
    if (workload.accumulates()) gradient = at::zeros_like(parameter.storage.detach());
  }
}

at::Tensor noise(at::IntArrayRef shape, at::ScalarType dtype) {
  at::Generator stream = generator(0, "accounting");
  return at::empty(shape, at::TensorOptions().dtype(at::kFloat)).normal_(0, 1, stream).to(dtype);
}

struct BranchTraces {
  Trace forward, backward;
};

BranchTraces run_branch(Branch& branch, const Workload& workload, at::IntArrayRef shape,
                        at::ScalarType activations) {
  const Masks masks(workload, shape[0], shape[1]);
  const at::Tensor leaf = noise(shape, activations).requires_grad_(true);
  const at::Tensor weights = noise(shape, activations);
  const Dropout dropout;
  LossProbe probe;
  const Span span{.starts = masks.starts,
                  .lengths = masks.lengths,
                  .offsets = &masks.offsets,
                  .prefix = masks.prefix,
                  .probe = &probe};
  prepare_gradients(branch, workload);

  BranchTraces traces;
  const Metered meter;
  meter->follow(&traces.forward);
  at::Tensor x = leaf.clone();
  at::Tensor y = branch(x, span, &dropout);
  x.reset();
  meter->follow(nullptr);
  // The gradient of y belongs to nobody but the backward pass.
  at::Tensor loss = (y * weights).sum();
  y.reset();
  for (const at::Tensor& more : probe.losses) loss = loss + more;
  probe.losses.clear();
  meter->follow(&traces.backward);
  loss.backward();
  return traces;
}

}  // namespace

BranchCost branch_cost(const BranchRecipe& recipe, const ModelRecipe& model,
                       const Registry& registry, Place place, at::ScalarType activations,
                       const Workload& workload) {
  place.options = at::TensorOptions().dtype(at::kFloat);
  Branch branch("branch", recipe, model, registry, place);
  initialize(branch, 0);
  const std::vector<int64_t> lengths = lengths_of(workload, place.width);
  const std::vector<int64_t> batches = batches_of(workload, place.width, lengths.back());
  // What a mixer makes once, at its first call, belongs to no step.
  run_branch(branch, workload, {1, lengths.front(), place.width}, activations);
  BranchCost cost;
  for (const int64_t batch : batches) {
    for (const int64_t length : lengths) {
      BranchTraces traces = run_branch(branch, workload, {batch, length, place.width}, activations);
      cost.forward.add({batch, length}, std::move(traces.forward));
      cost.backward.add({batch, length}, std::move(traces.backward));
    }
  }
  return cost;
}

namespace {

// The sizes at which a frame runs.
struct FrameSize {
  int64_t rows, length, scored, vocabulary;
  Cost::Size size() const { return {rows * length, scored, vocabulary}; }
};

struct FrameTraces {
  Trace embedding, final_norm, head, head_backward, embedding_backward;
};

// Follows a model without blocks from one stretch of work to the next.
class FrameProbe final : public Probe {
 public:
  FrameProbe(Meter& meter, FrameTraces& traces) : meter_(meter), traces_(traces) {}
  void record(const std::string& name, const at::Tensor& value) override {
    if (name == "final_norm") meter_.follow(&traces_.head);
    if (name != "embedding") return;
    meter_.follow(&traces_.final_norm);
    value.register_hook([this](const at::Tensor&) { meter_.follow(&traces_.embedding_backward); });
  }
  void loss(const std::string&, const at::Tensor&) override {}

 private:
  Meter& meter_;
  FrameTraces& traces_;
};

PlacedBatch frame_batch(const Workload& workload, const FrameSize& size) {
  const Masks masks(workload, size.rows, size.length);
  Batch batch;
  batch.inputs = at::arange(size.rows * size.length, at::kLong)
                     .remainder(size.vocabulary)
                     .view({size.rows, size.length});
  batch.labels = at::full_like(batch.inputs, -100);
  batch.labels.view({-1}).narrow(0, 0, size.scored).zero_();
  batch.starts = masks.starts;
  batch.lengths = masks.lengths;
  batch.prefix = masks.prefix;
  return place(batch, at::kCPU);
}

FrameTraces run_frame(const ModelRecipe& recipe, const Registry& registry,
                      at::ScalarType activations, const Workload& workload, const FrameSize& size) {
  Model model(recipe, registry, at::TensorOptions().dtype(at::kFloat), activations);
  initialize(model, 0);
  const PlacedBatch batch = frame_batch(workload, size);
  prepare_gradients(model, workload);
  const Dropout dropout;
  FrameTraces traces;
  const Metered meter;
  FrameProbe probe(*meter, traces);
  ModelSpan span = batch.span();
  span.probe = &probe;
  span.dropout = &dropout;
  meter->follow(&traces.embedding);
  const at::Tensor loss = loss_sum(model, batch, span);
  meter->follow(&traces.head_backward);
  loss.backward();
  meter->follow(nullptr);
  return traces;
}

}  // namespace

FrameCost frame_cost(const ModelRecipe& model, const Registry& registry, at::ScalarType activations,
                     const Workload& workload) {
  ModelRecipe frame = model;
  frame.blocks.clear();
  const int64_t length = std::min(workload.length, kTokens);
  const int64_t rows = (kTokens + length - 1) / length;
  FrameCost cost;
  for (const int64_t times : {1, 2}) {
    for (const int64_t scored : {kTokens / 2, kTokens}) {
      for (const int64_t vocabulary : {kTokens / 2, kTokens}) {
        frame.vocabulary = vocabulary;
        const FrameSize size{times * rows, length, scored, vocabulary};
        FrameTraces traces = run_frame(frame, registry, activations, workload, size);
        cost.embedding.add(size.size(), std::move(traces.embedding));
        cost.final_norm.add(size.size(), std::move(traces.final_norm));
        cost.head.add(size.size(), std::move(traces.head));
        cost.head_backward.add(size.size(), std::move(traces.head_backward));
        cost.embedding_backward.add(size.size(), std::move(traces.embedding_backward));
      }
    }
  }
  return cost;
}

}  // namespace echo
