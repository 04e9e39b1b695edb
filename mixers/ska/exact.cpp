#include "mixers/ska/exact.h"

#include "mixers/ska/block.h"

#include <echo/error.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace echo::ska {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Matrices that are worked on together: enough of them to hide the cost of a call, few enough that
// what one step writes is still in the cache when the next one reads it.
constexpr int64_t kMatrices = 96;

int64_t chunks_per_block(const Tensor& keys) {
  return std::max<int64_t>(1, kMatrices / (keys.size(1) * keys.size(2)));
}

Chunks slice(const Chunks& all, int64_t first, int64_t last) {
  const auto part = [&](const Tensor& tensor) {
    return tensor.defined() ? tensor.slice(0, first, last) : tensor;
  };
  return {part(all.keys),   part(all.queries), part(all.values),
          part(all.starts), part(all.plain),   part(all.filtered)};
}

// Block by block, in the order of time.
Tensor forward(const Chunks& chunks, const Reading& reading, Statistics& statistics,
               std::vector<Saved>* saved) {
  const int64_t count = chunks.keys.size(0), step = chunks_per_block(chunks.keys);
  Tensor y = at::empty_like(chunks.values);
  for (int64_t first = 0; first < count; first += step) {
    const int64_t last = std::min(first + step, count);
    Saved block = read_block(slice(chunks, first, last), reading, statistics,
                             y.slice(0, first, last).flatten(0, 2));
    if (saved) saved->push_back(std::move(block));
  }
  for (Tensor* statistic : {&statistics.G, &statistics.M, &statistics.C}) {
    if (statistic->defined()) *statistic = statistic->clone();  // not a view of a whole block's
  }
  return y;
}

void pack(Saved& block, variable_list& list) {
  for (const Tensor* tensor : block.frame.tensors()) list.push_back(*tensor);
  for (const Solved& read : block.reads) list.insert(list.end(), {read.u, read.weights});
}

// Takes one block from the end of the list.
Saved unpack(variable_list& list, const Chunks& block, const Reading& reading) {
  Saved saved;
  const auto tensors = saved.frame.tensors();
  const size_t size = tensors.size() + 2 * static_cast<size_t>(reading.power + 1);
  auto next = list.end() - static_cast<int64_t>(size);
  for (Tensor* tensor : tensors) *tensor = *next++;
  while (next != list.end()) {
    const Tensor u = *next++;
    saved.reads.push_back({u, *next++});
  }
  list.resize(list.size() - size);
  saved.frame.documents = Documents(block.starts, block.keys.scalar_type());
  saved.frame.ridge = reading.ridge;
  return saved;
}

// The tensors that may ask for a gradient, as far as they are defined.
variable_list differentiable(const Chunks& chunks, const Statistics& statistics) {
  variable_list list;
  for (const Tensor& tensor : {chunks.keys, chunks.queries, chunks.values, chunks.plain,
                               chunks.filtered, statistics.G, statistics.M, statistics.C}) {
    if (tensor.defined()) list.push_back(tensor);
  }
  return list;
}

class ReadExact : public torch::autograd::Function<ReadExact> {
 public:
  // `inputs` are the differentiable ones of the chunks and the statistics.
  static variable_list forward(AutogradContext* context, at::TensorList, const Chunks& chunks,
                               Statistics statistics, const Reading& reading) {
    std::vector<Saved> blocks;
    const Tensor y = ska::forward(chunks, reading, statistics, &blocks);
    variable_list saved = {chunks.keys, chunks.values, chunks.starts, chunks.plain,
                           chunks.filtered};
    for (Saved& block : blocks) pack(block, saved);
    context->save_for_backward(std::move(saved));
    context->saved_data["power"] = reading.power;
    context->saved_data["value_lag"] = reading.value_lag;
    context->saved_data["ridge"] = reading.ridge;
    variable_list results = {y, statistics.G, statistics.C};
    if (reading.power > 0) results.push_back(statistics.M);
    return results;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (at::GradMode::is_enabled())
      throw Error("ska has no second derivative: call backward without create_graph");
    const Reading reading{context->saved_data["power"].toInt(),
                          context->saved_data["value_lag"].toBool(),
                          context->saved_data["ridge"].toDouble()};
    variable_list saved = context->get_saved_variables();
    const Chunks chunks{saved[0], Tensor(), saved[1], saved[2], saved[3], saved[4]};
    const auto like = [](const Tensor& t) { return t.defined() ? at::empty_like(t) : t; };
    const Tensor queries = chunks.keys.slice(3, 1);
    const Chunks result{like(chunks.keys),   at::empty(queries.sizes(), queries.options()),
                        like(chunks.values), Tensor(),
                        like(chunks.plain),  like(chunks.filtered)};
    const Tensor dy = gradients[0].contiguous();
    Statistics statistics{gradients[1], reading.power > 0 ? gradients[3] : Tensor(), gradients[2]};

    const int64_t count = chunks.keys.size(0), step = chunks_per_block(chunks.keys);
    for (int64_t first = (count - 1) / step * step; first >= 0; first -= step) {
      const int64_t last = std::min(first + step, count);
      const Chunks block = slice(chunks, first, last);
      read_block_backward(unpack(saved, block, reading), block, reading,
                          dy.slice(0, first, last).flatten(0, 2), statistics,
                          slice(result, first, last));
    }
    variable_list inputs = differentiable(result, statistics);
    inputs.resize(inputs.size() + 3);  // chunks, statistics and reading
    return inputs;
  }
};

}  // namespace

Tensor read_exact(const Chunks& chunks, const Reading& reading, Statistics& statistics) {
  const variable_list inputs = differentiable(chunks, statistics);
  const bool graph = at::GradMode::is_enabled() &&
                     std::any_of(inputs.begin(), inputs.end(),
                                 [](const Tensor& tensor) { return tensor.requires_grad(); });
  if (!graph) return forward(chunks, reading, statistics, nullptr);
  const variable_list results =
      ReadExact::apply(at::TensorList(inputs), chunks, statistics, reading);
  statistics = {results[1], reading.power > 0 ? results[3] : Tensor(), results[2]};
  return results[0];
}

}  // namespace echo::ska
