#pragma once

#include "mixers/ska/tokens.h"

#include <echo/random.h>
#include <echo/testing.h>

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gtest/gtest.h>

// Random tokens and statistics for the tests of the parts of ska.
namespace echo::ska {

struct Case {
  int64_t batch = 2;
  int64_t length = 77;
  int64_t heads = 2;
  int64_t rank = 6;
  int64_t width = 5;
  Reading reading;
  bool read_gate = false;
  bool starts = false;
  int64_t chunk = kChunk;
};

// The tensors here are small: a second thread only waits, most of all on a busy machine.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

// Leaves by name: inputs of a read, and after it what it gave.
using Tensors = std::map<std::string, at::Tensor>;

inline at::Tensor draw(at::IntArrayRef shape, at::Generator& stream) {
  // Exact in float32, so that both precisions read the same numbers.
  return at::empty(shape, at::kFloat).normal_(0, 1, stream).to(at::kDouble);
}

// Keys of length 0.95, queries of length 1; statistics of some tokens before, or empty ones.
inline Tensors inputs_of(const Case& c, bool empty, uint64_t seed = 1) {
  at::Generator stream = generator(seed, "ska");
  const auto unit = [](const at::Tensor& rows) {
    return (rows / at::linalg_vector_norm(rows, 2, {-1}, true)).to(at::kFloat).to(at::kDouble);
  };
  const auto rows = [&](int64_t width) {
    return draw({c.batch, c.length, c.heads, width}, stream);
  };
  Tensors in;
  in["keys"] = unit(rows(c.rank)) * 0.9375;
  in["queries"] = unit(rows(c.rank));
  in["values"] = rows(c.width);
  if (c.read_gate) {
    in["plain"] = rows(1);
    in["filtered"] = rows(1);
  }
  const at::Tensor z = draw({c.batch, c.heads, empty ? 1 : 9, c.rank}, stream) * (empty ? 0 : 0.3);
  in["G"] = at::matmul(z.mT(), z) + c.reading.ridge * at::eye(c.rank, at::kDouble);
  if (c.reading.power > 0) in["M"] = at::matmul(z.slice(2, 1).mT(), z.slice(2, 0, -1));
  in["C"] = draw({c.batch, c.heads, c.width, c.rank}, stream) * (empty ? 0 : 1);
  in["z_prev"] = z.select(2, -1).clone();
  return in;
}

inline at::Tensor starts_of(const Case& c) {
  if (!c.starts) return {};
  at::Tensor starts = at::zeros({c.batch, c.length}, at::kBool);
  for (const int64_t t : {0, 3, 4, 31, 32, 40, 64, 70}) {
    if (t < c.length) starts[0][t] = true;
  }
  if (c.batch > 1 && c.length > 45) starts[1][45] = true;
  return starts;
}

inline at::Tensor find(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? at::Tensor() : found->second;
}

inline Tokens tokens_of(const Case& c, const Tensors& in) {
  return {find(in, "keys"), find(in, "queries"), find(in, "values"),  starts_of(c),
          at::Tensor(),     find(in, "plain"),   find(in, "filtered")};
}

// Rows that are scaled already.
inline Features features_of(const Case& c, const Tensors& in) {
  const auto as_is = [&](const char* name) { return Heads{in.at(name), at::Tensor(), false}; };
  return {as_is("keys"), as_is("queries"),  as_is("values"),     starts_of(c),
          at::Tensor(),  find(in, "plain"), find(in, "filtered")};
}

inline Chunks chunks_of(const Case& c, const Tensors& in) {
  return in_chunks(features_of(c, in), in.at("z_prev"), std::min(c.chunk, c.length));
}

inline Statistics statistics_of(const Tensors& in) {
  return {in.at("G"), find(in, "M"), in.at("C")};
}

inline Tensors outputs(const at::Tensor& y, const Statistics& statistics,
                       const at::Tensor& previous) {
  Tensors out{{"y", y}, {"G", statistics.G}, {"C", statistics.C}, {"z_prev", previous}};
  if (statistics.M.defined()) out["M"] = statistics.M;
  return out;
}

// Copies in another precision, asking for gradients.
inline Tensors leaves(const Tensors& in, at::ScalarType dtype) {
  Tensors result;
  for (const auto& [name, value] : in) result[name] = value.to(dtype).clone().requires_grad_(true);
  return result;
}

// Gradients of a fixed random weighting of all outputs, statistics included.
inline Tensors gradients(const Tensors& out, const Tensors& in) {
  at::Generator stream = generator(7, "weights");
  at::Tensor loss = at::zeros({}, out.at("y").options());
  for (const auto& [name, value] : out)
    loss = loss + (value * draw(value.sizes(), stream).to(value.scalar_type())).sum();
  loss.backward();
  Tensors result;
  for (const auto& [name, value] : in)
    result["gradient of " + name] = value.grad().defined() ? value.grad() : at::zeros_like(value);
  return result;
}

inline void expect_close(const Tensors& values, const Tensors& references, double tolerance) {
  for (const auto& [name, reference] : references)
    EXPECT_LE(testing::rms_ratio(values.at(name), reference), tolerance) << name;
}

}  // namespace echo::ska
