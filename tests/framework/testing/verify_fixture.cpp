#include "tests/framework/testing/verify_fixture.h"

#include "framework/src/model/norm.h"
#include "framework/src/recipe/values.h"
#include "tests/support/builtins.h"

#include <unistd.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

constexpr int64_t kWidth = 8;

struct NoOptions {
  void visit(Fields&) {}
};

// The mean of all tokens, later ones too.
class Mean final : public Mixer {
 public:
  Mean(const NoOptions&, const Place& place) : Mixer(place) {
    traits_.memory = Memory::none;
    traits_.causal = false;
  }
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span&) override {
    return x.mean(1, true).expand_as(x).contiguous();
  }

 private:
  Traits traits_;
};

at::TensorOptions wide() { return at::TensorOptions().dtype(at::kDouble); }

std::unique_ptr<Mixer> make_mixer(const Case& example) {
  const MixerKind& kind = *known_mixers().mixers.find(example.kind);
  const Place place{.width = kWidth, .options = wide()};
  const std::unique_ptr<Options> options = kind.options();
  const Node node = read_tree_text(example.options, "options", ".", {});
  read_fields(node, fields_of(*options), {"options", kind.name, {}});
  kind.complete(*options, place);
  return kind.make(*options, place);
}

void draw(NamedTensors& file, const std::string& name, const Parameter& parameter) {
  file.tensors[name] = (some_numbers(parameter.value().sizes().vec(), 0.4) * 0.3).contiguous();
  parameter.value().copy_(file.tensors[name]);
}

void add_gradient(NamedTensors& file, const std::string& name, const Parameter& parameter) {
  const at::Tensor gradient = parameter.gradient();
  file.tensors["d_" + name] =
      (gradient.defined() ? gradient : at::zeros_like(parameter.value())).to(at::kFloat);
}

}  // namespace

const Registry& known_mixers() {
  static const Registry* const registry = [] {
    auto* const known = new Registry;
    for (const char* name : {"attention", "linear_attention", "ska", "swiglu"})
      known->mixers.insert(*builtin_registry().mixers.find(name));
    MixerKind other = *builtin_registry().mixers.find("linear_attention");
    other.name = "test/linear_attention";
    known->mixers.insert(other);
    known->add_mixer<Mean, NoOptions>("test/mean", "the mean of all tokens");
    return known;
  }();
  return *registry;
}

at::Tensor some_numbers(const std::vector<int64_t>& shape, double phase) {
  const int64_t count = at::empty(shape).numel();
  return at::sin(at::arange(count, at::kDouble) + phase).to(at::kFloat).view(shape);
}

NamedTensors computed(const Case& example) {
  NamedTensors file;
  std::string loss = "sum(y*w)";
  for (const auto& [name, weights] : example.state_weights) {
    loss += " + sum(state." + name + "*w_" + name + ")";
    file.tensors["w_" + name] = weights;
  }
  file.metadata = {
      {"kind", example.kind}, {"level", "layer"}, {"options", example.options}, {"loss", loss}};
  const std::unique_ptr<Mixer> mixer = make_mixer(example);
  file.tensors["x"] = some_numbers({1, example.length, kWidth}, 0.1);
  file.tensors["w"] = some_numbers({1, example.length, kWidth}, 0.2);
  file.tensors["x_next"] = some_numbers({1, 2, kWidth}, 0.5);
  if (example.mask.defined()) file.tensors["mask"] = example.mask;
  for (const Parameter& parameter : mixer->parameters()) draw(file, parameter.name, parameter);

  const at::Tensor x = file.tensors["x"].to(at::kDouble).requires_grad_(true);
  State state = mixer->initial_state({.dtype = at::kDouble});
  const at::Tensor prefix = example.mask.defined() ? example.mask.to(at::kBool) : at::Tensor();
  const at::Tensor y = (*mixer)(x, {.state = &state, .prefix = prefix});
  at::Tensor sum = (y * file.tensors["w"]).sum();
  for (const auto& [name, weights] : example.state_weights)
    sum = sum + (state.ordered(name) * weights).sum();
  sum.backward();
  file.tensors["y"] = y.detach().to(at::kFloat);
  file.tensors["dx"] = x.grad().to(at::kFloat);
  for (const Parameter& parameter : mixer->parameters())
    add_gradient(file, parameter.name, parameter);

  c10::NoGradGuard no_grad;
  State after = state.detach().clone();
  for (const auto& [name, entry] : after.entries())
    file.tensors["state." + name] = after.ordered(name).to(at::kFloat).clone();
  file.tensors["y_next"] =
      (*mixer)(file.tensors["x_next"].to(at::kDouble), {.state = &after}).to(at::kFloat);
  return file;
}

NamedTensors computed_block() {
  const Case example{.options = R"({"heads": 1})"};
  NamedTensors file;
  file.metadata = {{"kind", example.kind},
                   {"level", "block"},
                   {"options", example.options},
                   {"block_norm", R"({"kind": "rms_norm", "eps": 1e-6})"}};
  const std::unique_ptr<Mixer> mixer = make_mixer(example);
  const Norm norm(NormRecipe{}, kWidth, wide());
  const auto name_of = [](const Parameter& parameter) {
    return (parameter.name == "norm.weight" ? "mixer." : "") + parameter.name;
  };
  for (const Parameter& parameter : mixer->parameters()) draw(file, name_of(parameter), parameter);
  const Parameter block = norm.parameters("norm").at(0);
  draw(file, block.name, block);
  file.tensors[block.name] = file.tensors[block.name] + 1;  // unlike the mixer's
  block.value().copy_(file.tensors[block.name]);

  file.tensors["x"] = some_numbers({1, example.length, kWidth}, 0.1);
  file.tensors["w"] = some_numbers({1, example.length, kWidth}, 0.2);
  const at::Tensor x = file.tensors["x"].to(at::kDouble).requires_grad_(true);
  const at::Tensor y = x + (*mixer)(norm(x), {});
  (y * file.tensors["w"]).sum().backward();
  file.tensors["y"] = y.detach().to(at::kFloat);
  file.tensors["dx"] = x.grad().to(at::kFloat);
  for (const Parameter& parameter : mixer->parameters())
    add_gradient(file, name_of(parameter), parameter);
  add_gradient(file, block.name, block);
  return file;
}

std::vector<std::string> failed(const testing::Verification& verification) {
  std::vector<std::string> names;
  for (const testing::Comparison& row : verification.comparisons) {
    if (!row.passed) names.push_back(row.tensor + " " + row.way);
  }
  return names;
}

bool compares(const testing::Verification& verification, const std::string& tensor) {
  for (const testing::Comparison& row : verification.comparisons) {
    if (row.tensor == tensor) return true;
  }
  return false;
}

VerifyTest::VerifyTest() {
  folder_ = std::filesystem::temp_directory_path() / ("echo_verify_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder_);
}

VerifyTest::~VerifyTest() { std::filesystem::remove_all(folder_); }

std::filesystem::path VerifyTest::golden(const std::string& name) const {
  return std::filesystem::path(ECHO_SOURCE_DIR) / "tests/golden" / (name + ".safetensors");
}

std::filesystem::path VerifyTest::written(const NamedTensors& content) const {
  const std::filesystem::path path = folder_ / "case.safetensors";
  write_safetensors(path, content);
  return path;
}

std::filesystem::path VerifyTest::changed(const std::string& name, const Change& change) const {
  NamedTensors content = read_safetensors(golden(name));
  change(content);
  return written(content);
}

testing::Verification VerifyTest::verified(const std::filesystem::path& path,
                                           const std::string& kind) const {
  return testing::verify(testing::read_golden(path), known_mixers(), kind);
}

std::string VerifyTest::refusal(const std::filesystem::path& path, const std::string& kind) const {
  try {
    verified(path, kind);
  } catch (const ConfigError& error) {
    std::string message = error.what();
    if (message.rfind(path.string() + ": ", 0) == 0) message.erase(0, path.string().size() + 2);
    return message;
  }
  return "nothing was refused";
}

std::string VerifyTest::refusal_of(const std::string& name, const Change& change) const {
  return refusal(changed(name, change));
}

}  // namespace echo
