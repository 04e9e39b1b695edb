#include "framework/src/accounting/optimizer_cost.h"

#include "framework/src/accounting/meter.h"

#include <echo/random.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kSide = 128;  // of a small matrix

struct Taken {
  int64_t state = 0;    // bytes, of all slots
  int64_t passing = 0;  // bytes that an update holds for a while
};

Taken updated(Optimizer& optimizer, const std::vector<std::vector<int64_t>>& shapes) {
  at::Generator stream = generator(0, "accounting");
  const auto made = [&](at::IntArrayRef shape) {
    return at::empty(shape, at::TensorOptions().dtype(at::kFloat)).normal_(0, 1, stream);
  };
  std::vector<Slot> slots;
  for (const auto& shape : shapes) {
    slots.push_back({.name = "parameter" + std::to_string(slots.size()),
                     .parameter = made(shape),
                     .gradient = made(shape),
                     .decay = true,
                     .state = {}});
  }
  optimizer.update(slots, optimizer.peak_rate(), 1);
  Taken taken{.passing = peak_bytes([&] { optimizer.update(slots, optimizer.peak_rate(), 2); })};
  for (const Slot& slot : slots) {
    for (const auto& [name, tensor] : slot.state)
      taken.state += static_cast<int64_t>(tensor.nbytes());
  }
  return taken;
}

}  // namespace

OptimizerCost optimizer_cost(const KindChoice& choice, const Registry& registry) {
  const auto fresh = [&] { return make(registry.optimizers, choice, OptimizerPlace{}); };
  const std::vector<int64_t> matrix = {kSide, kSide}, vector = {kSide * kSide};
  const Taken one = updated(*fresh(), {matrix}), two = updated(*fresh(), {matrix, matrix});
  const Taken line = updated(*fresh(), {vector});
  const auto bytes = static_cast<double>(kSide * kSide * sizeof(float));
  const auto share = [&](int64_t taken) { return static_cast<double>(taken) / bytes; };
  OptimizerCost cost{.per_matrix = share(one.state), .per_vector = share(line.state)};
  cost.passing_all = std::max(0.0, share(two.passing - one.passing));
  cost.passing_largest = std::max(0.0, share(one.passing) - cost.passing_all);
  return cost;
}

int64_t value_bytes(const Parameter& parameter) {
  return parameter.numel() * static_cast<int64_t>(parameter.storage.element_size());
}

int64_t OptimizerCost::state_bytes(const Parameter& parameter) const {
  const double share = parameter.storage.dim() < 2 ? per_vector : per_matrix;
  return std::llround(share * static_cast<double>(value_bytes(parameter)));
}

int64_t OptimizerCost::passing_bytes(int64_t parameters, int64_t largest) const {
  return std::llround(passing_all * static_cast<double>(parameters) +
                      passing_largest * static_cast<double>(largest));
}

}  // namespace echo
