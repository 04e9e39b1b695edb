#include "trainers/not_finite.h"

#include <cstdio>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr const char* kFirstWrong = "The first that went wrong is ";

// "37 of 4096 values are nan or infinite"; empty when all are finite.
std::string wrong_values(const at::Tensor& tensor) {
  if (!tensor.defined() || !at::isFloatingType(tensor.scalar_type())) return "";
  const int64_t wrong = at::isfinite(tensor.detach()).logical_not().sum().item<int64_t>();
  if (wrong == 0) return "";
  return std::to_string(wrong) + " of " + std::to_string(tensor.numel()) +
         " values are nan or infinite";
}

// Models record their own tensors by full name; what a mixer records comes just before the output
// of that mixer.
class FirstWrong final : public Probe {
 public:
  explicit FirstWrong(const ModelRecipe& recipe) : recipe_(recipe) {}

  void record(const std::string& name, const at::Tensor& value) override {
    if (!found_.empty()) return;
    const std::string wrong = wrong_values(value);
    if (!of_the_model(name)) {
      if (inside_.empty() && !wrong.empty()) inside_ = name + " (" + wrong + ") inside ";
      return;
    }
    if (!inside_.empty()) found_ = inside_ + with_kind(recipe_, name);
    if (inside_.empty() && !wrong.empty())
      found_ = "the output of " + with_kind(recipe_, name) + ": " + wrong;
  }
  void loss(const std::string& name, const at::Tensor& scalar) override {
    record("the auxiliary loss " + name, scalar);
  }
  const std::string& found() const { return found_; }

 private:
  static bool of_the_model(const std::string& name) {
    return name.rfind("blocks.", 0) == 0 || name == "embedding" || name == "final_norm" ||
           name == "logits";
  }

  const ModelRecipe& recipe_;
  std::string inside_;
  std::string found_;
};

}  // namespace

std::string with_kind(const ModelRecipe& recipe, const std::string& name) {
  size_t block = 0, branch = 0;
  int length = 0;
  const int read = std::sscanf(name.c_str(), "blocks.%zu.%zu.mixer%n", &block, &branch, &length);
  if (read != 2 || length == 0 || block >= recipe.blocks.size() ||
      branch >= recipe.blocks[block].size())
    return name;
  return name + " (" + recipe.blocks[block][branch].mixer.kind + ")";
}

std::string first_not_finite(const ModelRecipe& recipe, std::span<const Slot> slots,
                             const std::function<void(Probe&)>& forward) {
  const std::string begin = kFirstWrong;
  for (const Slot& slot : slots) {
    const std::string wrong = wrong_values(slot.parameter);
    if (!wrong.empty())
      return begin + "the parameter " + with_kind(recipe, slot.name) + ": " + wrong;
  }
  FirstWrong probe(recipe);
  forward(probe);
  if (!probe.found().empty()) return begin + probe.found();
  // The backward pass goes from the last parameter to the first.
  for (size_t i = slots.size(); i-- > 0;) {
    const std::string wrong = wrong_values(slots[i].gradient);
    if (!wrong.empty())
      return begin + "the gradient of " + with_kind(recipe, slots[i].name) + ": " + wrong;
  }
  return "Every single tensor is finite, but a sum over them is not: the values are too large";
}

bool says_which_tensor(const std::string& sentence) { return sentence.starts_with(kFirstWrong); }

}  // namespace echo
