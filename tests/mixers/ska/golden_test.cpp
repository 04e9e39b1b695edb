// Files of tests/golden: what others computed.
#include "framework/src/files/safetensors.h"
#include "mixers/ska/definition.h"
#include "mixers/ska/ska.h"
#include "tests/mixers/conformance.h"
#include "tests/mixers/ska/support.h"

#include <cmath>

namespace echo::ska {
namespace {

NamedTensors golden(const std::string& name) {
  return read_safetensors(std::string(ECHO_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors");
}

struct Tolerance {
  double y, state, gradient;
};
constexpr Tolerance kFloat64{1e-6, 1e-6, 1e-6};
constexpr Tolerance kFloat32{1e-3, 1e-5, 1e-2};

// A bare recurrence: y = eta gamma^K C G^-1 (M G^-1)^K q, from the file's state or from eps I.
struct Recurrence {
  std::map<std::string, at::Tensor> file, leaf;
  Reading reading;

  Recurrence(const std::string& name, int64_t power, at::ScalarType dtype)
      : file(golden(name).tensors), reading{power, false, file.at("eps").item<double>()} {
    for (const char* input : {"z", "q", "v", "eta", "gamma", "eps", "G0", "M0", "C0", "z_prev"}) {
      if (file.count(input)) leaf[input] = file.at(input).to(dtype).clone().requires_grad_(true);
    }
  }

  at::Tensor initial(const char* name, const at::Tensor& otherwise) const {
    const auto found = leaf.find(name);
    return found == leaf.end() ? otherwise : found->second;
  }

  void check(bool definition, const Tolerance& tolerance) {
    const at::Tensor& z = leaf.at("z");
    const int64_t batch = z.size(0), heads = z.size(2), rank = z.size(3);
    const auto zeros = [&](at::IntArrayRef shape) { return at::zeros(shape, z.options()); };
    const at::Tensor identity = at::eye(rank, z.options()).expand({batch, heads, rank, rank});
    Statistics statistics;
    statistics.G = initial("G0", leaf.at("eps") * identity);
    if (reading.power > 0) statistics.M = initial("M0", zeros({batch, heads, rank, rank}));
    statistics.C = initial("C0", zeros({batch, heads, leaf.at("v").size(3), rank}));
    at::Tensor previous = initial("z_prev", zeros({batch, heads, rank}));
    const at::Tensor scale = leaf.at("eta") * leaf.at("gamma").pow(reading.power);
    const at::Tensor q = leaf.at("q") * scale;

    at::Tensor y;
    if (definition) {
      y = read_definition({.keys = z, .queries = q, .values = leaf.at("v")}, reading, statistics,
                          previous);
    } else {
      const auto as_is = [](const at::Tensor& rows) { return Heads{rows, at::Tensor(), false}; };
      const Chunks chunks =
          in_chunks({.keys = as_is(z), .queries = as_is(q), .values = as_is(leaf.at("v"))},
                    previous, std::min(kChunk, z.size(1)));
      y = join_time(read_exact(chunks, reading, statistics), z.size(1));
      previous = last_key(chunks, z.size(1), previous, at::Tensor());
    }
    compare(y, statistics, previous, tolerance);
  }

  void compare(const at::Tensor& y, const Statistics& statistics, const at::Tensor& previous,
               const Tolerance& tolerance) {
    const auto expect = [&](const at::Tensor& value, const std::string& name, double allowed) {
      EXPECT_LE(testing::rms_ratio(value, file.at(name)), allowed) << name;
    };
    const auto weight = [&](const char* name) { return file.at(name).to(y.scalar_type()); };
    expect(y, "y", tolerance.y);
    expect(statistics.G, "state.G", tolerance.state);
    expect(statistics.C, "state.C", tolerance.state);
    expect(previous, "state.z_prev", tolerance.state);
    at::Tensor loss = (y * weight("w")).sum() + (statistics.G * weight("w_G")).sum() +
                      (statistics.C * weight("w_C")).sum();
    if (reading.power > 0) {
      expect(statistics.M, "state.M", tolerance.state);
      loss = loss + (statistics.M * weight("w_M")).sum();
    } else {
      // The file's loss has M in it, of which a layer at power 0 has none.
      const at::Tensor& z = leaf.at("z");
      const at::Tensor M = at::einsum("bthi,bthj->bhij", {z.slice(1, 1), z.slice(1, 0, -1)});
      loss = loss + (M * weight("w_M")).sum();
    }
    loss.backward();
    for (const auto& [name, value] : leaf) {
      if (value.grad().defined() && file.at("d_" + name).abs().max().item<double>() > 0)
        expect(value.grad(), "d_" + name, tolerance.gradient);
    }
  }
};

void expect_recurrence(const std::string& name, int64_t power) {
  Recurrence(name, power, at::kDouble).check(true, kFloat64);
  Recurrence(name, power, at::kDouble).check(false, kFloat64);
  Recurrence(name, power, at::kFloat).check(false, kFloat32);
}

TEST(SkaGoldenTest, ExactAtPowerZero) { expect_recurrence("ska_exact_k0", 0); }
TEST(SkaGoldenTest, ExactAtPowerOneWithGamma) { expect_recurrence("ska_exact_k1", 1); }
TEST(SkaGoldenTest, ExactAtPowerTwoFromAState) { expect_recurrence("ska_exact_k2", 2); }

// The authors' module: no output projection, so ours is the identity.
void expect_prefix(at::ScalarType dtype, const Tolerance& tolerance) {
  const auto file = golden("ska_prefix").tensors;
  SkaOptions options{.heads = 2,
                     .rank = 8,
                     .value_width = 12,
                     .power = 2,
                     .ridge = 1e-3,
                     .normalisation = SkaOptions::Normalisation::sequence_max,
                     .beta = SkaOptions::Beta::one,
                     .learn_gamma = true,
                     .spectral_norm = true,
                     .mode = SkaOptions::Mode::prefix};
  const auto mixer =
      make_mixer<Ska>(options, Place{.width = 24, .options = at::TensorOptions().dtype(dtype)});
  const std::map<std::string, std::string> theirs{{"q_proj.weight", "query_proj.weight"},
                                                  {"k_proj.weight", "key_proj.weight"},
                                                  {"v_proj.weight", "value_proj.weight"},
                                                  {"eta", "eta"},
                                                  {"gamma", "ssn_gamma"}};
  for (const Parameter& parameter : mixer->parameters()) {
    at::Tensor value = parameter.value();
    const auto found = theirs.find(parameter.name);
    value.copy_(found == theirs.end() ? at::eye(24) : file.at(found->second).expand_as(value));
  }
  const at::Tensor x = file.at("x").to(dtype).requires_grad_(true);
  Span span;
  span.prefix = file.at("mask").to(at::kBool);
  const at::Tensor y = (*mixer)(x, span);
  EXPECT_LE(testing::rms_ratio(y, file.at("y").flatten(2)), tolerance.y);

  (y * file.at("w").flatten(2).to(dtype)).sum().backward();
  EXPECT_LE(testing::rms_ratio(x.grad(), file.at("dx")), tolerance.gradient);
  for (const Parameter& parameter : mixer->parameters()) {
    const auto found = theirs.find(parameter.name);
    if (found == theirs.end()) continue;
    at::Tensor gradient = parameter.gradient();
    if (parameter.name == "eta") gradient = gradient.sum();
    EXPECT_LE(testing::rms_ratio(gradient, file.at("d_" + found->second)), tolerance.gradient)
        << parameter.name;
  }
}

TEST(SkaGoldenTest, PrefixInFloat64) { expect_prefix(at::kDouble, kFloat64); }
TEST(SkaGoldenTest, PrefixInFloat32) { expect_prefix(at::kFloat, kFloat32); }

}  // namespace
}  // namespace echo::ska
