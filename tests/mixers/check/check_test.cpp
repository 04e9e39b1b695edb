#include "mixers/check/shared_parameters.h"
#include "tests/mixers/wrappers.h"

#include <echo/linear.h>

#include <c10/core/GradMode.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

const std::string kAttention = "{kind: attention, heads: 4}";
const std::string kLongWindow = "{kind: attention, heads: 4, window: 8192}";
const std::string kShortWindow = "{kind: attention, heads: 4, window: 3}";

std::string check_of(const std::string& first, const std::string& second,
                     const std::string& more = "") {
  return "{kind: check, mixers: [" + first + ", " + second + "]" + more + "}";
}

// What stops a forward pass.
std::string failure(Mixer& mixer, const at::Tensor& x, const Span& span = {}) {
  try {
    mixer(x, span);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckTest, ConformsWithTwoThatAgree) {
  const std::string attention = "kind: attention, heads: 4, qk_norm: true";
  // Two ways through bfloat16 differ by its rounding.
  expect_conforms(
      check_of("{" + attention + "}", "{" + attention + ", window: 8192}", ", tolerance: 0.02"));
}

TEST(CheckTest, ConformsInsideOfParallel) {
  expect_conforms("{kind: parallel, mixers: [" + check_of("short_conv", "short_conv") +
                  ", {kind: mamba2, head_width: 16, state: 12}]}");
}

TEST(CheckTest, IsItsFirstMixer) {
  const auto alone = made(kAttention);
  const auto checked = made(check_of(kAttention, kLongWindow));
  c10::NoGradGuard no_grad;
  const std::vector<Parameter> from = alone->parameters(), to = checked->parameters();
  ASSERT_EQ(from.size(), to.size());  // the second's are no parameters of their own
  for (size_t i = 0; i < from.size(); ++i) {
    EXPECT_EQ(to[i].name, "0." + from[i].name);
    to[i].value().copy_(from[i].value());
  }
  const at::Tensor x = tokens(2, 30);
  EXPECT_TRUE(at::equal((*checked)(x, {}), (*alone)(x, {})));
  EXPECT_TRUE(at::equal(through_state(*checked, x, 1), through_state(*alone, x, 1)));
}

TEST(CheckTest, HasTheGradientOfItsFirstMixer) {
  const auto alone = made(kAttention);
  const auto checked = made(check_of(kAttention, kLongWindow));
  const std::vector<Parameter> from = alone->parameters(), to = checked->parameters();
  for (size_t i = 0; i < from.size(); ++i) to[i].value().copy_(from[i].value());
  const at::Tensor x = tokens(2, 30);
  (*alone)(x, {}).square().sum().backward();
  (*checked)(x, {}).square().sum().backward();
  for (size_t i = 0; i < from.size(); ++i)
    EXPECT_TRUE(at::equal(to[i].gradient(), from[i].gradient())) << from[i].name;
}

TEST(CheckTest, StopsWhereItsMixersDiffer) {
  const auto mixer = made(check_of(kAttention, kShortWindow), {.width = 32, .layer = 7});
  EXPECT_THAT(failure(*mixer, tokens(2, 30)),
              AllOf(HasSubstr("check: block 7: 'attention' (mixers.0) and 'attention' (mixers.1) "
                              "give different outputs for the same 2 x 30 tokens: the RMS ratio "
                              "is 1."),
                    HasSubstr("allowed is 1e-05")));
}

TEST(CheckTest, AllowsWhatTheToleranceDoes) {
  const auto mixer = made(check_of(kAttention, kShortWindow, ", tolerance: 10"));
  EXPECT_EQ(failure(*mixer, tokens(2, 30)), "");
}

TEST(CheckTest, FindsADifferenceThatOnlyTheMemoryCarries) {
  const auto mixer = made(check_of(kAttention, kShortWindow));
  c10::NoGradGuard no_grad;
  State state = mixer->initial_state({.batch = 2, .capacity = 8});
  const at::Tensor x = tokens(2, 8);
  for (int64_t t = 0; t < 3; ++t)  // the window holds three tokens
    EXPECT_EQ(failure(*mixer, x.narrow(1, t, 1), {.state = &state}), "");
  EXPECT_NE(failure(*mixer, x.narrow(1, 3, 1), {.state = &state}), "");
}

TEST(CheckTest, ComparesNoPadding) {
  const auto mixer = made(check_of(kAttention, kShortWindow));
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{3, 2}, at::kLong);
  const Offsets offsets = host_offsets({}, lengths, 2, 30);
  EXPECT_EQ(failure(*mixer, tokens(2, 30), {.lengths = lengths, .offsets = &offsets}), "");
}

TEST(CheckTest, StopsAtNumbersThatAreNotFinite) {
  const auto mixer = made(check_of(kAttention, kLongWindow));
  at::Tensor x = tokens(1, 4);
  x.fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(failure(*mixer, x), HasSubstr("the RMS ratio is inf"));
}

TEST(CheckTest, SeesAParameterThatHasChanged) {
  const auto mixer = made(check_of(kAttention, kLongWindow));
  const at::Tensor x = tokens(2, 30);
  c10::NoGradGuard no_grad;
  for (const Parameter& parameter : mixer->parameters()) parameter.value().mul_(1.5);
  EXPECT_EQ(failure(*mixer, x), "");
}

TEST(CheckTest, RefusesAnotherNumberThanTwo) {
  const std::string example = ", as in [{kind: ska}, {kind: fast/ska}]";
  EXPECT_EQ(refusal("{kind: check, mixers: [swiglu]}"),
            "mixer.mixers: expected two mixers to compare, found 1" + example);
  EXPECT_EQ(refusal("{kind: check, mixers: [swiglu, swiglu, swiglu]}"),
            "mixer.mixers: expected two mixers to compare, found 3" + example);
}

TEST(CheckTest, RefusesParametersOfAnotherShape) {
  EXPECT_EQ(refusal(check_of("{kind: swiglu, hidden: 8}", "{kind: swiglu, hidden: 16}")),
            "mixer.mixers.1: its parameter 'down_proj.weight' has the shape [32, 16], that of the "
            "first [32, 8]; both mixers must have the same parameters, as two options of one kind "
            "have");
}

TEST(CheckTest, RefusesParametersThatTheFirstLacks) {
  EXPECT_EQ(refusal(check_of("{kind: short_conv, gate: false}", "short_conv")),
            "mixer.mixers.1: has a parameter 'gate_proj.bias', which the first has not; both "
            "mixers must have the same parameters, as two options of one kind have");
}

TEST(CheckTest, RefusesParametersThatTheSecondLacks) {
  EXPECT_EQ(refusal(check_of("short_conv", "{kind: short_conv, gate: false}")),
            "mixer.mixers.1: lacks a parameter 'gate_proj.bias', which the first has; both mixers "
            "must have the same parameters, as two options of one kind have");
}

// Two maps that keep the same parameters in one matrix, or in one each.
class Maps final : public Module {
 public:
  explicit Maps(std::vector<std::vector<LinearBlock>> matrices) : Module(at::kFloat) {
    for (auto& blocks : matrices)
      child("", std::make_unique<Linear>(4, std::move(blocks), at::TensorOptions(at::kFloat)));
  }
};

bool share_memory(const Parameter& a, const Parameter& b) {
  return a.value().data_ptr() == b.value().data_ptr();
}

TEST(SharedParametersTest, ShareTheMemoryOfTheSameMatrices) {
  Maps from({{{"q", 3}, {"k", 5}}}), to({{{"q", 3}, {"k", 5}}});
  const SharedParameters shared(from, to, "mixers.1");
  EXPECT_TRUE(share_memory(from.parameters()[0], to.parameters()[0]));
  EXPECT_TRUE(share_memory(from.parameters()[1], to.parameters()[1]));
}

TEST(SharedParametersTest, CopyTheRowsOfOtherMatrices) {
  Maps from({{{"q", 3}, {"k", 5}}}), to({{{"k", 5}, {"q", 3}}});
  const SharedParameters shared(from, to, "mixers.1");
  initialize(from, 0);
  EXPECT_FALSE(share_memory(from.parameters()[0], to.parameters()[1]));
  shared.refresh();
  EXPECT_TRUE(at::equal(to.parameters()[1].value(), from.parameters()[0].value()));
  EXPECT_TRUE(at::equal(to.parameters()[0].value(), from.parameters()[1].value()));
}

TEST(SharedParametersTest, CopyTheRowsOfSeveralMatricesIntoOne) {
  Maps from({{{"q", 3}}, {{"k", 5}}}), to({{{"q", 3}, {"k", 5}}});
  const SharedParameters shared(from, to, "mixers.1");
  initialize(from, 0);
  shared.refresh();
  for (size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(at::equal(to.parameters()[i].value(), from.parameters()[i].value()));
}

}  // namespace
}  // namespace echo
