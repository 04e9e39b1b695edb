#include "mixers/ska/ska.h"

#include "tests/mixers/conformance.h"

#include <echo/error.h>
#include <echo/random.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <gmock/gmock.h>

namespace echo {
namespace {

TEST(SkaTest, Conforms) { expect_conforms<Ska>(SkaOptions{.heads = 2, .rank = 6}); }

TEST(SkaTest, ConformsAtPowerZero) {
  expect_conforms<Ska>(SkaOptions{.heads = 2, .rank = 6, .power = 0});
}

TEST(SkaTest, ConformsWithEveryOption) {
  expect_conforms<Ska>(SkaOptions{.heads = 2,
                                  .rank = 6,
                                  .value_width = 5,
                                  .power = 2,
                                  .beta = SkaOptions::Beta::fixed,
                                  .beta_value = 0.5,
                                  .read_gate = true,
                                  .value_lag = true,
                                  .gamma = 1.1,
                                  .learn_gamma = true});
}

TEST(SkaTest, ConformsInModePrefix) {
  expect_conforms<Ska>(SkaOptions{.heads = 2,
                                  .rank = 6,
                                  .power = 2,
                                  .normalisation = SkaOptions::Normalisation::sequence_max,
                                  .beta = SkaOptions::Beta::one,
                                  .mode = SkaOptions::Mode::prefix});
}

std::string field_error(SkaOptions options, int64_t width) {
  try {
    options.complete({.width = width});
  } catch (const FieldError& error) {
    return error.field() + ": " + error.what();
  }
  return "no error";
}

TEST(SkaTest, RefusesHeadsThatDoNotDivideTheWidth) {
  EXPECT_THAT(field_error({.heads = 5}, 32),
              ::testing::HasSubstr("heads: heads is 5, which does not divide the width 32"));
  EXPECT_EQ(field_error({.heads = 5, .value_width = 7}, 32), "no error");
}

TEST(SkaTest, RefusesToLookAheadOutsideOfModePrefix) {
  EXPECT_THAT(field_error({.normalisation = SkaOptions::Normalisation::sequence_max}, 32),
              ::testing::HasSubstr("normalisation: sequence_max divides by the longest key"));
}

at::Tensor input(int64_t batch, int64_t length, int64_t width, at::ScalarType dtype = at::kDouble) {
  at::Generator stream = generator(2, "x");
  return at::empty({batch, length, width}, at::kFloat).normal_(0, 1, stream).to(dtype);
}

Place wide(int64_t width) {
  return {.width = width, .options = at::TensorOptions().dtype(at::kDouble)};
}

TEST(SkaTest, SaysThatModePrefixNeedsAPrefix) {
  const auto mixer =
      make_mixer<Ska>(SkaOptions{.heads = 2, .mode = SkaOptions::Mode::prefix}, wide(8));
  try {
    (*mixer)(input(1, 3, 8), {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("this batch marks nothing"));
  }
}

TEST(SkaTest, DeclaresTheParametersOfItsOptions) {
  const auto mixer = make_mixer<Ska>(
      SkaOptions{
          .heads = 2, .rank = 6, .read_gate = true, .eta = 1.5, .gamma = 1.25, .learn_gamma = true},
      {.width = 16});
  std::map<std::string, at::Tensor> values;
  std::vector<std::string> kept;  // from weight decay
  for (const Parameter& parameter : mixer->parameters()) {
    values[parameter.name] = parameter.value();
    if (!parameter.options.decay) kept.push_back(parameter.name);
  }
  EXPECT_THAT(kept, ::testing::UnorderedElementsAre("beta_proj.bias", "eta", "gamma",
                                                    "read_gate.weight", "read_gate.bias"));
  EXPECT_EQ(values.at("q_proj.weight").sizes(), (std::vector<int64_t>{12, 16}));
  EXPECT_EQ(values.at("v_proj.weight").sizes(), (std::vector<int64_t>{16, 16}));
  const at::Tensor k = values.at("k_proj.weight");
  EXPECT_TRUE(at::allclose(k.matmul(k.mT()), at::eye(12), 1e-5, 1e-6));
  EXPECT_EQ(values.at("beta_proj.weight").abs().max().item<float>(), 0);
  EXPECT_TRUE(at::equal(values.at("beta_proj.bias"), at::full({2}, 2.0f)));
  EXPECT_TRUE(at::equal(values.at("eta"), at::full({2}, 1.5f)));
  EXPECT_EQ(values.at("gamma").item<float>(), 1.25f);
  EXPECT_EQ(values.at("read_gate.weight").abs().max().item<float>(), 0);
  EXPECT_NEAR(values.at("o_proj.weight").std().item<float>(), 0.02, 0.005);
}

// The statistics alone: 2 R R + P R + R numbers per head, less where the options need less.
TEST(SkaTest, KeepsTheStateOfThePaper) {
  const auto numbers = [](SkaOptions options) {
    options.heads = 3;
    options.rank = 7;
    options.value_width = 5;
    return make_mixer<Ska>(options, {.width = 8})->initial_state({.batch = 2}).bytes() /
           (4 * 2 * 3);
  };
  EXPECT_EQ(numbers({.power = 2}), 2 * 49 + 35 + 7);
  EXPECT_EQ(numbers({.power = 0}), 49 + 35);
  EXPECT_EQ(numbers({.power = 0, .value_lag = true}), 49 + 35 + 7);
  EXPECT_EQ(numbers({.normalisation = SkaOptions::Normalisation::sequence_max,
                     .mode = SkaOptions::Mode::prefix}),
            2 * 49 + 35 + 7 + 1);
}

TEST(SkaTest, CountsTheFactorAsResidentOnly) {
  const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 1, .rank = 4}, {.width = 8});
  State state = mixer->initial_state({});
  const int64_t bytes = state.bytes();
  const c10::NoGradGuard no_grad;
  Span span;
  span.state = &state;
  (*mixer)(input(1, 1, 8, at::kFloat), span);
  EXPECT_EQ(state.bytes(), bytes);
  EXPECT_EQ(state.resident_bytes(), bytes + 4 * 4 * 4);
}

// gamma counts once per step of the power; the paper's spectral norm changes nothing.
TEST(SkaTest, ScalesTheReadByGammaToThePower) {
  const auto y = [](double gamma, bool spectral_norm) {
    const SkaOptions options{
        .heads = 2, .power = 3, .gamma = gamma, .spectral_norm = spectral_norm};
    return (*make_mixer<Ska>(options, wide(8)))(input(1, 40, 8), {}).detach();
  };
  EXPECT_TRUE(at::allclose(y(1.2, false), y(1, false) * 1.728, 1e-10, 1e-14));
  EXPECT_TRUE(at::equal(y(1, true), y(1, false)));
}

// Without gradients a long stretch is read in pieces; padding and starts are cut with it.
TEST(SkaTest, PiecesOfALongStretchEqualTheWhole) {
  const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 1, .rank = 3, .value_lag = true}, wide(4));
  const int64_t length = 9000;
  const at::Tensor x = input(2, length, 4);
  Span span;
  span.starts = at::zeros({2, length}, at::kBool);
  for (const int64_t t : {4095, 4096, 8191}) span.starts[0][t] = true;
  span.lengths = at::tensor(std::vector<int64_t>{length, 5000}, at::kLong);
  const Offsets offsets = host_offsets(span.starts, span.lengths, 2, length);
  span.offsets = &offsets;
  const auto run = [&](bool with_gradients) {
    const c10::AutoGradMode mode(with_gradients);
    State state = mixer->initial_state({.batch = 2});
    span.state = &state;
    at::Tensor y = (*mixer)(x, span).detach();
    y[1].slice(0, 5000).zero_();  // padding
    return std::pair(y, std::move(state));
  };
  const auto [whole, whole_state] = run(true);
  const auto [pieces, pieces_state] = run(false);
  EXPECT_LE(testing::rms_ratio(pieces, whole), 1e-10);
  for (const char* name : {"G", "M", "C", "z_prev"})
    EXPECT_LE(testing::rms_ratio(pieces_state.get(name), whole_state.get(name)), 1e-10) << name;
}

TEST(SkaTest, GradientsReachAnEarlierStretchThroughTheState) {
  const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 2, .rank = 5}, wide(8));
  const at::Tensor x = input(1, 4, 8).requires_grad_(true);
  State state = mixer->initial_state({});
  Span span;
  span.state = &state;
  (*mixer)(x.slice(1, 0, 3), span);
  (*mixer)(x.slice(1, 3), span).sum().backward();
  EXPECT_GT(x.grad().slice(1, 0, 3).abs().min().item<double>(), 0);
}

// A state that hangs on a graph is copied before decoding writes to it.
TEST(SkaTest, DecodingLeavesAGraphAlone) {
  const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 2, .rank = 5}, wide(8));
  const at::Tensor x = input(1, 20, 8).requires_grad_(true);
  State state = mixer->initial_state({});
  Span span;
  span.state = &state;
  const at::Tensor y = (*mixer)(x, span);
  const at::Tensor G = state.get("G");
  const at::Tensor before = G.detach().clone();
  {
    const c10::NoGradGuard no_grad;
    (*mixer)(input(1, 1, 8), span);
  }
  EXPECT_TRUE(at::equal(G, before));
  EXPECT_FALSE(state.get("G").requires_grad());
  (y.sum() + G.sum()).backward();
  EXPECT_GT(x.grad().abs().max().item<double>(), 0);
}

struct Prefixed {
  at::Tensor y;
  State state;
};

// One stretch after another; the prefix ends at `end`.
Prefixed read_with_prefix(Ska& mixer, const at::Tensor& x, int64_t end,
                          const std::vector<int64_t>& bounds) {
  State state = mixer.initial_state({.batch = x.size(0)});
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    Span span;
    span.state = &state;
    const int64_t first = bounds[i], last = bounds[i + 1];
    if (first < end) {
      const at::Tensor t = at::arange(first, last);
      span.prefix = t.lt(end).unsqueeze(0).expand({x.size(0), last - first});
    }
    outputs.push_back(mixer(x.slice(1, first, last), span));
  }
  return {at::cat(outputs, 1), std::move(state)};
}

TEST(SkaTest, ModePrefixMayBeCutAfterThePrefix) {
  for (const bool value_lag : {false, true}) {
    const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 2,
                                                  .rank = 5,
                                                  .power = 2,
                                                  .read_gate = true,
                                                  .value_lag = value_lag,
                                                  .mode = SkaOptions::Mode::prefix},
                                       wide(8));
    const at::Tensor x = input(2, 30, 8);
    for (const bool with_gradients : {false, true}) {
      const c10::AutoGradMode mode(with_gradients);
      const Prefixed whole = read_with_prefix(*mixer, x, 20, {0, 30});
      for (const std::vector<int64_t>& bounds :
           {std::vector<int64_t>{0, 20, 30}, {0, 23, 24, 25, 30}, {0, 20, 21, 22, 30}}) {
        const Prefixed parts = read_with_prefix(*mixer, x, 20, bounds);
        EXPECT_LE(testing::rms_ratio(parts.y, whole.y), 1e-10);
        for (const char* name : {"G", "M", "C", "z_prev"})
          EXPECT_LE(testing::rms_ratio(parts.state.get(name), whole.state.get(name)), 1e-12);
      }
    }
  }
}

TEST(SkaTest, ModePrefixFreezesTheLongestKey) {
  const auto mixer =
      make_mixer<Ska>(SkaOptions{.heads = 2,
                                 .rank = 5,
                                 .normalisation = SkaOptions::Normalisation::sequence_max,
                                 .beta = SkaOptions::Beta::one,
                                 .mode = SkaOptions::Mode::prefix},
                      wide(8));
  at::Tensor x = input(2, 12, 8);
  x.slice(1, 8) *= 0.01;  // the longest key is before the cut: one stretch or two are the same
  const Prefixed whole = read_with_prefix(*mixer, x, 8, {0, 12});
  const Prefixed parts = read_with_prefix(*mixer, x, 8, {0, 8, 12});
  EXPECT_LE(testing::rms_ratio(parts.y, whole.y), 1e-10);
  x.slice(1, 8) *= 1e4;  // keys that are longer, but too late
  const Prefixed later = read_with_prefix(*mixer, x, 8, {0, 8, 12});
  EXPECT_TRUE(at::equal(later.state.get("norm"), parts.state.get("norm")));
}

}  // namespace
}  // namespace echo
