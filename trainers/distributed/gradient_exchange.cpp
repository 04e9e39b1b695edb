#include "trainers/distributed/gradient_exchange.h"

#include "framework/src/ranks/buckets.h"
#include "framework/src/ranks/ownership.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace echo {

// One parameter in a bucket: its elements, then one that counts the ranks that had a gradient.
struct GradientExchange::Piece {
  size_t parameter = 0;
  int64_t place = 0;  // in the bucket
  int64_t count = 0;
};

struct GradientExchange::Bucket {
  std::string name;
  std::vector<Piece> pieces;  // by owner
  Shares shares;              // elements of each owner
  size_t leaves = 0;          // whose gradients it waits for
  size_t missing = 0;         // of them, in this backward pass
  at::Tensor values;          // flat
  std::unique_ptr<Pending> pending;
};

class GradientExchange::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientExchange& exchange, size_t bucket) : exchange_(exchange), bucket_(bucket) {}
  void operator()(const torch::autograd::Variable&) override {
    exchange_.gradient_is_ready(bucket_);
  }

 private:
  GradientExchange& exchange_;
  size_t bucket_;
};

GradientExchange::GradientExchange(const std::vector<Parameter>& parameters, Communicator& ranks,
                                   OptimizerState state)
    : parameters_(parameters), ranks_(ranks), state_(state) {
  std::vector<int64_t> sizes;
  for (const Parameter& parameter : parameters_) sizes.push_back(parameter.numel());
  const bool shared = state == OptimizerState::shared;
  const std::vector<int64_t> owner =
      shared ? owners(sizes, ranks.size()) : std::vector<int64_t>(sizes.size(), ranks.rank());
  for (size_t i = 0; i < owner.size(); ++i) {
    if (owner[i] == ranks.rank()) kept_.push_back(i);
  }
  make_buckets(owner);
}

GradientExchange::~GradientExchange() {
  for (const at::Tensor& leaf : leaves_)
    torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
}

void GradientExchange::make_buckets(const std::vector<int64_t>& owner) {
  for (const std::vector<size_t>& together : gradient_buckets(parameters_)) {
    Bucket& bucket = buckets_.emplace_back();
    bucket.name = "gradients " + std::to_string(buckets_.size() - 1);
    std::set<const void*> leaves;
    for (const size_t i : together) {
      const Parameter& parameter = parameters_[i];
      bucket.pieces.push_back({i, 0, parameter.numel()});
      if (!leaves.insert(parameter.storage.unsafeGetTensorImpl()).second) continue;
      ++bucket.leaves;
      leaves_.push_back(parameter.storage);
      torch::autograd::impl::set_post_acc_grad_hooks(
          parameter.storage, std::make_unique<Hook>(*this, buckets_.size() - 1));
    }
  }
  for (Bucket& bucket : buckets_) {
    std::stable_sort(
        bucket.pieces.begin(), bucket.pieces.end(),
        [&](const Piece& a, const Piece& b) { return owner[a.parameter] < owner[b.parameter]; });
    bucket.shares.assign(static_cast<size_t>(ranks_.size()), 0);
    int64_t place = 0;
    for (Piece& piece : bucket.pieces) {
      piece.place = place;
      place += piece.count + 1;
      bucket.shares[static_cast<size_t>(owner[piece.parameter])] += piece.count + 1;
    }
    bucket.values = at::zeros({place}, parameters_.front().storage.options());
  }
}

void GradientExchange::open() {
  open_ = true;
  sent_ = 0;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.leaves;
}

void GradientExchange::gradient_is_ready(size_t bucket) {
  if (!open_) return;
  --buckets_[bucket].missing;
  send_ready();
}

void GradientExchange::send_ready() {
  while (sent_ < buckets_.size() && buckets_[sent_].missing == 0) send(buckets_[sent_++]);
}

void GradientExchange::send(Bucket& bucket) {
  const c10::NoGradGuard no_grad;
  for (const Piece& piece : bucket.pieces) {
    const at::Tensor place = bucket.values.narrow(0, piece.place, piece.count);
    const at::Tensor gradient = parameters_[piece.parameter].gradient();
    if (gradient.defined()) {
      place.copy_(gradient.reshape({-1}));
    } else {
      place.zero_();
    }
    bucket.values.narrow(0, piece.place + piece.count, 1).fill_(gradient.defined() ? 1 : 0);
  }
  bucket.pending = state_ == OptimizerState::shared
                       ? ranks_.reduce_scatter(bucket.values, bucket.shares, bucket.name)
                       : ranks_.all_reduce(bucket.values, bucket.name);
}

void GradientExchange::close(std::span<Slot> slots) {
  // What no backward pass of this rank has reached.
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  send_ready();
  open_ = false;
  std::vector<at::Tensor> counts(kept_.size());  // of the ranks that had a gradient
  for (Bucket& bucket : buckets_) {
    bucket.pending->wait();
    bucket.pending.reset();
    for (const Piece& piece : bucket.pieces) {
      const auto kept = std::lower_bound(kept_.begin(), kept_.end(), piece.parameter);
      if (kept == kept_.end() || *kept != piece.parameter) continue;
      const auto slot = static_cast<size_t>(kept - kept_.begin());
      slots[slot].gradient = bucket.values.narrow(0, piece.place, piece.count)
                                 .view(parameters_[piece.parameter].value().sizes());
      counts[slot] = bucket.values.narrow(0, piece.place + piece.count, 1);
    }
  }
  for (const at::Tensor& leaf : leaves_) leaf.mutable_grad().reset();
  if (counts.empty()) return;
  const at::Tensor had_one =
      at::cat(counts).to(at::kCPU);  // one wait for a device, whatever it holds
  for (size_t slot = 0; slot < counts.size(); ++slot) {
    if (had_one.const_data_ptr<float>()[slot] == 0) slots[slot].gradient.reset();
  }
}

void GradientExchange::share_parameters() {
  if (state_ == OptimizerState::whole) return;
  const c10::NoGradGuard no_grad;
  for (Bucket& bucket : buckets_) {
    for (const Piece& piece : bucket.pieces) {
      const at::Tensor value = parameters_[piece.parameter].value();
      bucket.values.narrow(0, piece.place, piece.count).copy_(value.reshape({-1}));
    }
    bucket.pending =
        ranks_.all_gather(bucket.values, bucket.shares, "parameters of " + bucket.name);
  }
  for (Bucket& bucket : buckets_) {
    bucket.pending->wait();
    bucket.pending.reset();
    for (const Piece& piece : bucket.pieces) {
      const at::Tensor value = parameters_[piece.parameter].value();
      value.copy_(bucket.values.narrow(0, piece.place, piece.count).view(value.sizes()));
    }
  }
}

}  // namespace echo
