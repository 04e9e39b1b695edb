#pragma once

#include "framework/src/files/sha256.h"
#include "trainers/tasks/mqar/mqar.h"

#include <ostream>
#include <string>
#include <string_view>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo::testing {

// A set that zoology's own code has drawn, and the SHA-256 of its tensors (or how that begins).
struct ZoologySet {
  const char* name;
  int64_t vocabulary, length, pairs, samples, seed;
  const char* inputs;  // without fill
  const char* labels;
  const char* filled;
  int64_t sum_of_inputs = 0;  // without fill; 0: not known
};

inline std::string name_of(const ::testing::TestParamInfo<ZoologySet>& info) {
  return info.param.name;
}

inline void PrintTo(const ZoologySet& set, std::ostream* out) { *out << set.name; }

inline Batch draw(const ZoologySet& set, bool fill) {
  MqarOptions options;
  options.vocabulary = set.vocabulary;
  options.length = set.length;
  options.pairs = set.pairs;
  options.samples = set.samples;
  options.seed = set.seed;
  options.fill = fill;
  return Mqar(options, TaskPlace{}).batch(Split::train, 0, set.samples);
}

inline std::string sum(const at::Tensor& tensor, const char* expected) {
  const at::Tensor data = tensor.contiguous();
  return sha256(std::string_view(static_cast<const char*>(data.const_data_ptr()), data.nbytes()))
      .substr(0, std::string_view(expected).size());
}

class Zoology : public ::testing::TestWithParam<ZoologySet> {};

TEST_P(Zoology, DrawsTheSameSet) {
  const ZoologySet& set = GetParam();
  {
    const Batch plain = draw(set, false);
    EXPECT_EQ(sum(plain.inputs, set.inputs), set.inputs);
    EXPECT_EQ(sum(plain.labels, set.labels), set.labels);
    if (set.sum_of_inputs > 0) {
      EXPECT_EQ(plain.inputs.sum().item<int64_t>(), set.sum_of_inputs);
    }
  }
  const Batch filled = draw(set, true);
  EXPECT_EQ(sum(filled.inputs, set.filled), set.filled);
  EXPECT_EQ(sum(filled.labels, set.labels), set.labels);
}

}  // namespace echo::testing
