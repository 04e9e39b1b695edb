#pragma once

#include <echo/init.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

struct ParameterOptions {
  bool decay = true;  // false: no weight decay (norms, biases, gates' scalars, decays)
};

// A parameter as files, initialisation and optimisers see it: a whole tensor, or named rows of a
// matrix that several maps share (see Linear). Autograd sees `storage`, the leaf.
struct Parameter {
  std::string name;  // full, dotted: "blocks.0.1.mixer.q_proj.weight"
  at::Tensor storage;
  int64_t first_row = 0;
  int64_t rows = -1;  // -1: the whole of storage
  init::Initializer initializer;
  ParameterOptions options;

  at::Tensor value() const;  // shares memory with storage, outside autograd
  at::Tensor gradient()
      const;  // shares memory with storage's gradient; undefined while there is none
  int64_t numel() const;
};

// Base of everything that has parameters. It declares them; the framework draws, moves, saves and
// loads them by name. A module is owned by one parent; it is not copied. Not thread-safe while it
// is built or initialised.
class Module {
 public:
  explicit Module(const at::TensorOptions& options);
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // All parameters, own ones first, then the children's in the order of their declaration. Names
  // start with prefix.
  std::vector<Parameter> parameters(std::string_view prefix = "") const;

  // dtype and device of the parameters. Parameters stay float32 in training whatever the dtype of
  // x; float64 is for verification; the meta device is for accounting.
  const at::TensorOptions& options() const;

  // dtype of statistics, decays, factors and states: float32, or float64 where the parameters are
  // float64.
  at::ScalarType statistics_dtype() const;

 protected:
  // Declares a leaf; the returned handle stays valid and sees later loads. Its content is unset
  // until initialize() or a load. Throws std::logic_error for a name that is taken.
  at::Tensor parameter(const std::string& name, at::IntArrayRef shape,
                       init::Initializer initializer, ParameterOptions options = {});

  // Takes ownership of a module whose names are prefixed "name."; an empty name adds no prefix.
  template <class M>
  M& child(const std::string& name, std::unique_ptr<M> module) {
    M& reference = *module;
    adopt(name, std::move(module));
    return reference;
  }

  // For Linear: a leaf of which the rows [first_row, first_row + rows) are the parameter `name`.
  // The rest is padding: zero, never saved, counted or decayed.
  at::Tensor shared_storage(at::IntArrayRef shape);
  void rows_parameter(const std::string& name, const at::Tensor& storage, int64_t first_row,
                      int64_t rows, init::Initializer initializer, ParameterOptions options);

 private:
  struct Data;
  void adopt(const std::string& name, std::unique_ptr<Module> module);
  std::unique_ptr<Data> data_;
};

// Draws every parameter from (seed, its full name), on the CPU in float32, then casts and copies to
// its device.
void initialize(Module& module, uint64_t seed, std::string_view prefix = "");

}  // namespace echo
