#include "mixers/ska/step.h"

#include "mixers/ska/step_kernel.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace echo::ska {
namespace {

using at::Tensor;

// (B, H, a, b) times (B, H, b)
Tensor times(const Tensor& matrices, const Tensor& vectors) {
  return at::matmul(matrices, vectors.unsqueeze(-1)).squeeze(-1);
}

void add_outer(Tensor matrices, const Tensor& left, const Tensor& right) {
  matrices.addcmul_(left.unsqueeze(-1), right.unsqueeze(-2));
}

// Empties the rows that `start` (B, 1, 1, 1) names.
void restart(const Tensor& start, double ridge, StepMemory& memory) {
  auto& [G, M, C] = memory.statistics;
  const Tensor identity = at::eye(G.size(-1), G.options());
  G.copy_(at::where(start, identity * ridge, G));
  if (M.defined()) M.masked_fill_(start, 0);
  C.masked_fill_(start, 0);
  memory.factor.copy_(at::where(start, identity / std::sqrt(ridge), memory.factor));
  memory.previous.masked_fill_(start.squeeze(-1), 0);
}

void update(const Tensor& z, const Tensor& v, const Reading& reading, StepMemory& memory) {
  auto& [G, M, C] = memory.statistics;
  Tensor& factor = memory.factor;
  const Tensor a = times(factor.mT(), z);
  const Tensor square = a.square().sum(-1, true) + 1;  // (B, H, 1)
  add_outer(factor, times(factor, a), a.neg() / (square + square.sqrt()));
  add_outer(G, z, z);
  if (M.defined()) add_outer(M, z, memory.previous);
  add_outer(C, v, reading.value_lag ? memory.previous : z);
}

Tensor filtered(const Tensor& q, const StepMemory& memory, const Tensor& M, int64_t power) {
  Tensor u = times(memory.factor, times(memory.factor.mT(), q));
  for (int64_t k = 0; k < power; ++k)
    u = times(memory.factor, times(memory.factor.mT(), times(M, u)));
  return u;
}

}  // namespace

Tensor read_steps_reference(const Tokens& tokens, const Reading& reading, StepMemory& memory) {
  const auto& [G, M, C] = memory.statistics;
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < tokens.keys.size(1); ++t) {
    const auto now = [t](const Tensor& tensor) { return tensor.select(1, t); };
    if (tokens.starts.defined())
      restart(now(tokens.starts).view({-1, 1, 1, 1}), reading.ridge, memory);
    const Tensor z = now(tokens.keys);
    update(z, now(tokens.values), reading, memory);
    memory.previous.copy_(tokens.lengths.defined()
                              ? at::where((tokens.lengths > t).view({-1, 1, 1}), z, memory.previous)
                              : z);

    Tensor u = filtered(now(tokens.queries), memory, M, reading.power);
    if (tokens.plain.defined()) {
      const Tensor first = filtered(now(tokens.queries), memory, M, 0);
      u = first * now(tokens.plain) + u * now(tokens.filtered);
    }
    outputs.push_back(times(C, u));
  }
  return at::stack(outputs, 1);
}

Tensor read_steps(const Features& features, const Reading& reading, StepMemory& memory) {
  return features.keys.rows.is_cpu() ? read_steps_kernel(features, reading, memory)
                                     : read_steps_reference(in_time(features), reading, memory);
}

}  // namespace echo::ska
