#include "framework/src/accounting/exchange_cost.h"

#include "framework/src/model/branch.h"

#include <echo/stretch.h>

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

constexpr int64_t kTokens = 16;     // of the part that runs
constexpr int64_t kLong = 1 << 14;  // of a part that shows whether bytes stop growing

// The first of two ranks; the other one's part has `longest` tokens. What is exchanged has the same
// shape on all ranks, so it is the longest part that counts.
class CountingStretch final : public Stretch {
 public:
  explicit CountingStretch(int64_t longest)
      : longest_(longest), position_(at::zeros({1}, at::kLong)) {}

  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  int64_t length(int64_t rank) const override { return rank == 0 ? kTokens : longest_; }
  const at::Tensor& position() const override { return position_; }
  int64_t longest() const override { return 0; }
  const at::Tensor& unbroken() const override { return unbroken_; }
  Arrival gather(const at::Tensor& part, const std::string&) override {
    ++operations_;
    bytes_ += static_cast<int64_t>(part.nbytes());
    std::vector<int64_t> all = part.sizes().vec();
    all.insert(all.begin(), 2);
    const at::Tensor nothing = at::zeros({1}, part.options()).expand(all);
    return Arrival([nothing] { return nothing; });
  }
  at::Tensor tied(const at::Tensor& y) override { return y; }

  int64_t operations() const { return operations_; }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t longest_;
  at::Tensor position_, unbroken_;
  int64_t operations_ = 0, bytes_ = 0;
};

}  // namespace

int64_t ExchangeCost::bytes(int64_t part) const {
  return std::min(most, constant + per_token * part);
}

bool shares_sequences(const Mixer& mixer) {
  return mixer.traits().stretch && !mixer.traits().needs_prefix;
}

ExchangeCost exchange_cost(const BranchRecipe& recipe, const ModelRecipe& model,
                           const Registry& registry, Place place, at::ScalarType activations) {
  const c10::NoGradGuard no_grad;
  place.options = at::TensorOptions().dtype(at::kFloat);
  Branch branch("branch", recipe, model, registry, place);
  if (!shares_sequences(branch.mixer())) return {};
  initialize(branch, 0);
  const at::Tensor x = at::ones({1, kTokens, place.width}, activations);
  const auto counted = [&](int64_t longest) {
    CountingStretch stretch(longest);
    branch(x, {.stretch = &stretch}, nullptr);
    return std::pair(stretch.bytes(), stretch.operations());
  };
  const auto [bytes, operations] = counted(kTokens);
  ExchangeCost cost{.operations = operations};
  cost.per_token = (counted(2 * kTokens).first - bytes) / kTokens;
  cost.constant = bytes - cost.per_token * kTokens;
  const int64_t line = cost.constant + cost.per_token * kLong, found = counted(kLong).first;
  cost.most = found < line ? found : std::numeric_limits<int64_t>::max();
  return cost;
}

}  // namespace echo
