#include "framework/src/decoder.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

bool replays(const Model& model) {
  const auto& branches = model.branches();
  return std::all_of(branches.begin(), branches.end(),
                     [](const Branch* branch) { return branch->mixer().traits().replays; });
}

// Positions that are multiples of it are not replayed; 0: all are.
int64_t renewal_of(const Model& model) {
  int64_t renewal = 0;
  for (const Branch* branch : model.branches())
    renewal = std::gcd(renewal, branch->mixer().traits().renewal);
  return renewal;
}

}  // namespace

Decoder::Decoder(Model& model, int64_t capacity, WorkRecorder recorder)
    : model_(model),
      capacity_(capacity),
      renewal_(renewal_of(model)),
      recorder_(replays(model) ? std::move(recorder) : WorkRecorder()),
      state_(model.initial_state(1, capacity)) {}

at::Tensor Decoder::forward(const at::Tensor& input) {
  ModelSpan span;
  span.state = &state_;
  const at::Tensor hidden = model_.hidden(input, span);
  return model_.logits(hidden.select(1, input.size(1) - 1)).squeeze(0).to(at::kFloat);
}

at::Tensor Decoder::read(const int64_t* tokens, int64_t count) {
  const c10::NoGradGuard no_gradients;
  const int64_t position = state_.tokens.longest();
  const bool fits = recorder_ && count == 1 && position < capacity_;
  if (!fits) forget();
  if (!fixed_.empty() && (renewal_ == 0 || position % renewal_ != 0)) {
    input_.fill_(tokens[0]);
    replay();
    return logits_.to(at::kCPU);
  }
  const at::Tensor input =
      at::from_blob(const_cast<int64_t*>(tokens), {1, count}, at::TensorOptions(at::kLong))
          .to(model_.device(), at::kLong, /*non_blocking=*/false, /*copy=*/true);
  const at::Tensor logits = forward(input);
  if (!fixed_.empty()) {
    settle();
  } else if (fits) {
    input_ = input;
    logits_ = logits.clone();
    fixed_.emplace_back(state_.tokens);
    for (State& state : state_.branches) fixed_.emplace_back(state);
  }
  return logits.to(at::kCPU);
}

// The state's tensors are about to become others.
void Decoder::forget() {
  recording_.reset();
  fixed_.clear();
}

void Decoder::settle() {
  for (FixedState& state : fixed_) state.settle();
}

void Decoder::step() {
  logits_.copy_(forward(input_));
  settle();
}

void Decoder::replay() {
  const int64_t position = state_.tokens.longest();
  if (!recording_) recording_ = record();
  if (recording_) {
    recording_->replay();
    ++replayed_;
  } else {
    recorder_ = {};
    step();
  }
  count(position + 1);
}

std::unique_ptr<Recording> Decoder::record() {
  const int64_t position = state_.tokens.longest();
  auto recording = recorder_([this] { step(); });
  for (FixedState& state : fixed_) state.restore();
  count(position);
  return recording;
}

// The host's part of the states: their tensors count for themselves.
void Decoder::count(int64_t position) {
  const auto set = [&](State& state) { state.set_position(state.position(), position); };
  set(state_.tokens);
  std::for_each(state_.branches.begin(), state_.branches.end(), set);
}

}  // namespace echo
