#pragma once

#include <echo/module.h>

#include <optional>

namespace echo {

// One row block of a Linear: a linear map by the name that files know it by ("q_proj" ->
// "q_proj.weight").
struct LinearBlock {
  std::string name;
  int64_t rows = 0;
  init::Initializer weight = init::normal(0.02);
  std::optional<init::Initializer> bias = std::nullopt;  // none: the block has no bias
};

// y = x W^T + b, W (rows, inputs). Several maps of the same input share one matrix, padded to a
// multiple of 16 rows (a width of 1932 is a quarter slower than 1936): files, import,
// initialisation and optimisers see the blocks, the product sees the matrix. The one place that
// casts parameters to the dtype of x; also the door to narrow weights.
class Linear final : public Module {
 public:
  Linear(int64_t inputs, std::vector<LinearBlock> blocks, const at::TensorOptions& options);

  // (..., inputs) -> (..., rows of the one block). For a Linear of one block.
  at::Tensor operator()(const at::Tensor& x) const;

  // (..., inputs) -> one view (..., rows) per block, in the order of declaration.
  std::vector<at::Tensor> split(const at::Tensor& x) const;

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }  // rows of all blocks, without padding
  // Multiply-adds of one token count as two.
  int64_t flops(int64_t tokens) const { return 2 * tokens * inputs_ * outputs_; }

 private:
  at::Tensor product(const at::Tensor& x) const;

  int64_t inputs_;
  int64_t outputs_ = 0;
  std::vector<int64_t> rows_;
  at::Tensor weight_;
  at::Tensor bias_;
};

}  // namespace echo
