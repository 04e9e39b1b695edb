#include "mixers/ska/exact.h"

#include "mixers/ska/definition.h"
#include "tests/mixers/ska/support.h"

#include <echo/error.h>

#include <c10/core/GradMode.h>

#include <gmock/gmock.h>

namespace echo::ska {
namespace {

Tensors by_definition(const Case& c, const Tensors& in) {
  Statistics statistics = statistics_of(in);
  at::Tensor previous = in.at("z_prev");
  const at::Tensor y = read_definition(tokens_of(c, in), c.reading, statistics, previous);
  return outputs(y, statistics, previous);
}

Tensors by_chunks(const Case& c, const Tensors& in) {
  Statistics statistics = statistics_of(in);
  const Chunks chunks = chunks_of(c, in);
  const at::Tensor y = join_time(read_exact(chunks, c.reading, statistics), c.length);
  return outputs(y, statistics, last_key(chunks, c.length, in.at("z_prev"), at::Tensor()));
}

struct Both {
  Tensors values, gradients;
};

template <class F>
Both run(F&& read, const Case& c, const Tensors& in, at::ScalarType dtype) {
  const Tensors given = leaves(in, dtype);
  const Tensors out = read(c, given);
  return {out, gradients(out, given)};
}

void expect_definition(const Case& c, bool empty) {
  const OneThread one_thread;
  const Tensors in = inputs_of(c, empty);
  const Both expected = run(by_definition, c, in, at::kDouble);
  const Both wide = run(by_chunks, c, in, at::kDouble);
  expect_close(wide.values, expected.values, 1e-11);
  expect_close(wide.gradients, expected.gradients, 1e-11);
  const Both narrow = run(by_chunks, c, in, at::kFloat);
  expect_close(narrow.values, expected.values, 1e-5);
  expect_close(narrow.gradients, expected.gradients, 1e-4);
  const c10::NoGradGuard no_grad;
  expect_close(by_chunks(c, in), expected.values, 1e-11);
}

class ExactAtPower : public ::testing::TestWithParam<int64_t> {};

TEST_P(ExactAtPower, EqualsTheDefinitionFromAState) {
  expect_definition({.reading = {.power = GetParam(), .ridge = 0.01}}, false);
}

TEST_P(ExactAtPower, EqualsTheDefinitionFromNothing) {
  expect_definition({.reading = {.power = GetParam(), .ridge = 0.01}}, true);
}

TEST_P(ExactAtPower, EqualsTheDefinitionWithValueLag) {
  expect_definition({.reading = {.power = GetParam(), .value_lag = true}}, false);
}

TEST_P(ExactAtPower, EqualsTheDefinitionWithReadGate) {
  expect_definition({.reading = {.power = GetParam()}, .read_gate = true}, false);
}

TEST_P(ExactAtPower, EqualsTheDefinitionWhereDocumentsStart) {
  const Reading reading{.power = GetParam()};
  expect_definition({.reading = reading, .starts = true}, false);
  expect_definition({.length = 100, .reading = reading, .starts = true, .chunk = 64}, true);
}

TEST_P(ExactAtPower, EqualsTheDefinitionWithEverythingAtOnce) {
  expect_definition(
      {.reading = {.power = GetParam(), .value_lag = true}, .read_gate = true, .starts = true},
      false);
}

INSTANTIATE_TEST_SUITE_P(Powers, ExactAtPower, ::testing::Values(0, 1, 2, 3));

TEST(ExactTest, EqualsTheDefinitionAtEveryLength) {
  for (const int64_t length : {1, 2, 31, 32, 33, 63, 64, 65, 200}) {
    SCOPED_TRACE(length);
    expect_definition({.batch = 1, .length = length, .reading = {.power = 1}}, false);
  }
}

TEST(ExactTest, DoesNotDependOnTheChunk) {
  const OneThread one_thread;
  const Case c{.length = 150, .reading = {.power = 2}};
  const Tensors in = inputs_of(c, false);
  const Tensors expected = by_chunks(c, in);
  for (const int64_t chunk : {1, 7, 64, 150}) {
    Case other = c;
    other.chunk = chunk;
    expect_close(by_chunks(other, in), expected, 1e-12);
  }
}

// More matrices than one block holds.
TEST(ExactTest, CarriesStatisticsFromBlockToBlock) {
  expect_definition({.batch = 1, .length = 130, .heads = 30, .rank = 3, .width = 2}, false);
}

// With a ridge of 1e-3, a key in a new direction makes numbers that differ by a factor of a
// thousand: float32 keeps what the definition keeps in it.
TEST(ExactTest, IsAsAccurateAsTheDefinitionInFloat32) {
  const OneThread one_thread;
  const Case c{.length = 200, .rank = 16, .width = 16, .reading = {.power = 2, .ridge = 1e-3}};
  const Tensors in = inputs_of(c, true);
  const at::Tensor expected = by_definition(c, in).at("y");
  Tensors narrow;
  for (const auto& [name, value] : in) narrow[name] = value.to(at::kFloat);
  EXPECT_LE(testing::rms_ratio(by_chunks(c, narrow).at("y"), expected), 3e-5);
}

// Keys that lie close together, as in a trained model: the Gram matrix has the condition 1e5.
TEST(ExactTest, SurvivesKeysThatAreNearlyEqual) {
  const OneThread one_thread;
  const Case c{.batch = 1, .length = 2000, .rank = 12, .reading = {.power = 1}};
  Tensors in = inputs_of(c, true);
  in["keys"] = (in["keys"] * 0.01 + 0.27).to(at::kFloat).to(at::kDouble);
  in["queries"] = (in["queries"] * 0.01 + 0.27).to(at::kFloat).to(at::kDouble);
  const at::Tensor expected = by_chunks(c, in).at("y");
  Tensors narrow;
  for (const auto& [name, value] : in) narrow[name] = value.to(at::kFloat);
  EXPECT_LE(testing::rms_ratio(by_chunks(c, narrow).at("y"), expected), 1e-3);
}

TEST(ExactTest, RefusesASecondDerivative) {
  const Case c{.batch = 1, .length = 5};
  const Tensors in = leaves(inputs_of(c, true), at::kDouble);
  const at::Tensor y = by_chunks(c, in).at("y");
  try {
    y.sum().backward({}, std::nullopt, /*create_graph=*/true);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("without create_graph"));
  }
}

}  // namespace
}  // namespace echo::ska
