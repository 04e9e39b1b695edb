#include <echo/error.h>
#include <echo/module.h>
#include <echo/random.h>

#include <ATen/ATen.h>

namespace echo {

namespace {

std::string joined(std::string_view prefix, std::string_view name) {
  if (prefix.empty()) return std::string(name);
  if (name.empty()) return std::string(prefix);
  return std::string(prefix) + "." + std::string(name);
}

}  // namespace

at::Tensor Parameter::value() const {
  const at::Tensor whole = storage.detach();
  return rows < 0 ? whole : whole.narrow(0, first_row, rows);
}

at::Tensor Parameter::gradient() const {
  const at::Tensor& whole = storage.grad();
  if (!whole.defined() || rows < 0) return whole;
  return whole.narrow(0, first_row, rows);
}

int64_t Parameter::numel() const {
  return rows < 0 ? storage.numel() : rows * (storage.numel() / storage.size(0));
}

struct Module::Data {
  at::TensorOptions options;
  std::vector<Parameter> parameters;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children;
};

Module::Module(const at::TensorOptions& options) : data_(std::make_unique<Data>()) {
  data_->options = options;
}
Module::~Module() = default;

const at::TensorOptions& Module::options() const { return data_->options; }

at::ScalarType Module::statistics_dtype() const {
  return c10::typeMetaToScalarType(data_->options.dtype()) == at::kDouble ? at::kDouble
                                                                          : at::kFloat;
}

std::vector<Parameter> Module::parameters(std::string_view prefix) const {
  std::vector<Parameter> all;
  for (Parameter own : data_->parameters) {
    own.name = joined(prefix, own.name);
    all.push_back(std::move(own));
  }
  for (const auto& [name, module] : data_->children) {
    for (Parameter& inner : module->parameters(joined(prefix, name)))
      all.push_back(std::move(inner));
  }
  return all;
}

at::Tensor Module::parameter(const std::string& name, at::IntArrayRef shape,
                             init::Initializer initializer, ParameterOptions options) {
  at::Tensor leaf = at::empty(shape, data_->options).requires_grad_(true);
  rows_parameter(name, leaf, 0, -1, std::move(initializer), options);
  return leaf;
}

at::Tensor Module::shared_storage(at::IntArrayRef shape) {
  return at::zeros(shape, data_->options).requires_grad_(true);
}

void Module::rows_parameter(const std::string& name, const at::Tensor& storage, int64_t first_row,
                            int64_t rows, init::Initializer initializer, ParameterOptions options) {
  for (const Parameter& other : data_->parameters) {
    ECHO_CHECK(other.name != name, "the parameter '" << name << "' exists already");
  }
  data_->parameters.push_back({name, storage, first_row, rows, std::move(initializer), options});
}

void Module::adopt(const std::string& name, std::unique_ptr<Module> module) {
  data_->children.emplace_back(name, std::move(module));
}

void initialize(Module& module, uint64_t seed, std::string_view prefix) {
  for (const Parameter& parameter : module.parameters(prefix)) {
    at::Tensor value = parameter.value();
    if (value.is_meta()) continue;
    at::Tensor draw = at::empty(value.sizes(), at::TensorOptions().dtype(at::kFloat));
    at::Generator stream = generator(seed, parameter.name);
    parameter.initializer(draw, stream);
    value.copy_(draw);
  }
}

}  // namespace echo
