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

template <class F>
Tensors by_steps(F&& read, const Case& c, const Tensors& in, const at::Tensor& lengths) {
  Tokens tokens = tokens_of(c, in);
  tokens.lengths = lengths;
  StepMemory memory = memory_of(c, in);
  const at::Tensor y = read(tokens, c.reading, memory);
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
    expect_close(by_steps(read_steps_reference, c, in, {}), expected, 1e-11);
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
    const Tensors expected = by_steps(read_steps_reference, c, in, lengths);
    expect_close(by_steps(read_steps_kernel, c, in, lengths), expected, 1e-12);
    Tensors narrow;
    for (const auto& [name, value] : in) narrow[name] = value.to(at::kFloat);
    expect_close(by_steps(read_steps_kernel, c, narrow, lengths), expected, 1e-4);
  }
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
