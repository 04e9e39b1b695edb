#include <echo/error.h>
#include <echo/linear.h>

#include <ATen/ATen.h>

namespace echo {

Linear::Linear(int64_t inputs, std::vector<LinearBlock> blocks, const at::TensorOptions& options)
    : Module(options), inputs_(inputs) {
  bool any_bias = false;
  for (const LinearBlock& block : blocks) {
    outputs_ += block.rows;
    rows_.push_back(block.rows);
    any_bias = any_bias || block.bias.has_value();
  }
  const int64_t padded = blocks.size() == 1 ? outputs_ : (outputs_ + 15) / 16 * 16;
  weight_ = shared_storage({padded, inputs});
  if (any_bias) bias_ = shared_storage({padded});
  int64_t first = 0;
  for (const LinearBlock& block : blocks) {
    rows_parameter(block.name + ".weight", weight_, first, block.rows, block.weight, {});
    if (block.bias)
      rows_parameter(block.name + ".bias", bias_, first, block.rows, *block.bias, {.decay = false});
    first += block.rows;
  }
}

at::Tensor Linear::product(const at::Tensor& x) const {
  const auto cast = [&](const at::Tensor& parameter) {
    return parameter.scalar_type() == x.scalar_type() ? parameter : parameter.to(x.scalar_type());
  };
  return at::linear(x, cast(weight_),
                    bias_.defined() ? std::optional<at::Tensor>(cast(bias_)) : std::nullopt);
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  ECHO_CHECK(rows_.size() == 1, "a Linear of several blocks: use split()");
  return product(x);
}

std::vector<at::Tensor> Linear::split(const at::Tensor& x) const {
  const at::Tensor all = product(x);
  // One split with the padding as its last part: the backward then joins the blocks' gradients
  // once, where views of their own would each fill a matrix of their own with zeros.
  std::vector<int64_t> sizes = rows_;
  sizes.push_back(all.size(-1) - outputs_);
  std::vector<at::Tensor> parts = all.split_with_sizes(sizes, -1);
  parts.pop_back();
  return parts;
}

}  // namespace echo
