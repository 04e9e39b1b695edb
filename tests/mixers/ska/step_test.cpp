#include "mixers/ska/step.h"

#include "mixers/ska/exact.h"
#include "mixers/ska/inverse_factor.h"
#include "mixers/ska/step_kernel.h"
#include "tests/mixers/ska/support.h"

namespace echo::ska {
namespace {

StepMemory memory_of(const Case& c, const Tensors& in) {
  const auto copy = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.contiguous().clone() : tensor;
  };
  const at::Tensor G = copy(in.at("G"));
  return {{G, copy(find(in, "M")), copy(in.at("C"))},
          inverse_factor(G.flatten(0, 1), c.reading.ridge).view_as(G),
          copy(in.at("z_prev"))};
}

at::Tensor reference(const Features& features, const Reading& reading, StepMemory& memory) {
  return read_steps_reference(in_time(features), reading, memory);
}

template <class F>
Tensors by_steps(F&& read, const Case& c, const Tensors& in, const at::Tensor& lengths) {
  Features features = features_of(c, in);
  features.lengths = lengths;
  StepMemory memory = memory_of(c, in);
  const at::Tensor y = read(features, c.reading, memory);
  Tensors out = outputs(y, memory.statistics, memory.previous);
  out["factor"] = memory.factor;
  return out;
}

std::vector<Case> step_cases() {
  return {{.reading = {.power = 0}},
          {.reading = {.power = 1}, .starts = true},
          {.rank = 17, .width = 33, .reading = {.power = 3}, .read_gate = true},
          {.reading = {.power = 0, .value_lag = true}, .starts = true},
          {.reading = {.power = 2, .value_lag = true}, .read_gate = true, .starts = true}};
}

TEST(StepTest, EqualsTheChunkForm) {
  const OneThread one_thread;
  for (const Case& c : step_cases()) {
    const Tensors in = inputs_of(c, false);
    Statistics statistics = statistics_of(in);
    const Chunks chunks = chunks_of(c, in);
    const at::Tensor y = join_time(read_exact(chunks, c.reading, statistics), c.length);
    const Tensors expected =
        outputs(y, statistics, last_key(chunks, c.length, in.at("z_prev"), at::Tensor()));
    expect_close(by_steps(reference, c, in, {}), expected, 1e-11);
    expect_close(by_steps(read_steps_kernel, c, in, {}), expected, 1e-11);
  }
}

TEST(StepTest, TheKernelEqualsTheReference) {
  const OneThread one_thread;
  for (const Case& c : step_cases()) {
    Tensors in = inputs_of(c, false);
    const at::Tensor lengths = at::tensor(std::vector<int64_t>{77, 0}, at::kLong);
    in["keys"][1].zero_();  // padding
    in["values"][1].zero_();
    const Tensors expected = by_steps(reference, c, in, lengths);
    expect_close(by_steps(read_steps_kernel, c, in, lengths), expected, 1e-12);
    Tensors narrow;
    for (const auto& [name, value] : in) narrow[name] = value.to(at::kFloat);
    expect_close(by_steps(read_steps_kernel, c, narrow, lengths), expected, 1e-4);
  }
}

TEST(StepTest, TheKernelScalesRowsOfAnyStrides) {
  const OneThread one_thread;
  const Case c{.rank = 43, .width = 21, .reading = {.power = 2}};
  const Tensors in = inputs_of(c, false);
  const at::Tensor weight = at::rand({c.batch, c.length, c.heads}, at::kDouble) + 0.5;
  const auto heads = [&](const char* name, bool normalise) {
    const at::Tensor wide = at::cat({in.at(name), in.at(name) * 3}, 2);  // twice the heads
    return Heads{wide.slice(2, c.heads), weight, normalise};
  };
  Features features = features_of(c, in);
  features.keys = heads("keys", true);
  features.values = heads("values", false);
  features.queries = heads("queries", true);
  features.queries.weight = weight.select(1, 0).unsqueeze(1).expand_as(weight);
  StepMemory memory = memory_of(c, in), other = memory_of(c, in);
  const at::Tensor expected = reference(features, c.reading, other);
  const at::Tensor y = read_steps_kernel(features, c.reading, memory);
  expect_close(outputs(y, memory.statistics, memory.previous),
               outputs(expected, other.statistics, other.previous), 1e-11);
}

TEST(StepTest, KeepsTheFactorOfTheGramMatrix) {
  const Case c{.length = 64, .reading = {.power = 1, .ridge = 1e-3}};
  const Tensors out = by_steps(read_steps, c, inputs_of(c, true), {});
  const at::Tensor product = at::matmul(out.at("factor"), out.at("factor").mT());
  const at::Tensor identity = at::eye(c.rank, at::kDouble).expand_as(product);
  EXPECT_LE(testing::rms_ratio(at::matmul(product, out.at("G")), identity), 1e-9);
}

}  // namespace
}  // namespace echo::ska
