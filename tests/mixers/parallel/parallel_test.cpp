#include "tests/mixers/wrappers.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

const std::string kAttention = "{kind: attention, heads: 4, window: 20, qk_norm: true}";
const std::string kMamba2 = "{kind: mamba2, head_width: 16, state: 12}";
const std::string kSka = "{kind: ska, heads: 2, rank: 6}";

std::string parallel_of(const std::string& mixers, const std::string& more = "") {
  return "{kind: parallel, mixers: [" + mixers + "]" + more + "}";
}

// Gives member `n` of a wrapper the parameters of the mixer that it is compared with.
void copy_parameters(const Mixer& from, const Mixer& to, const std::string& n) {
  c10::NoGradGuard no_grad;
  for (const Parameter& target : to.parameters()) {
    for (const Parameter& source : from.parameters()) {
      if (target.name == n + "." + source.name) target.value().copy_(source.value());
    }
  }
}

TEST(ParallelTest, ConformsWithAttentionAndMamba2) {
  expect_conforms(parallel_of(kAttention + ", " + kMamba2, ", scales: [0.5, -2]"));
}

TEST(ParallelTest, ConformsWithAMixerThatRemembersNothing) {
  expect_conforms(parallel_of(kSka + ", {kind: swiglu, hidden: 24}"));
}

TEST(ParallelTest, ConformsInsideOfItself) {
  expect_conforms(parallel_of(parallel_of("short_conv, {kind: linear_attention, heads: 2}") +
                              ", {kind: short_conv, kernel: 5}"));
}

TEST(ParallelTest, OfOneMixerIsThatMixerToTheBit) {
  c10::NoGradGuard no_grad;
  const at::Tensor x = tokens(2, 50);
  for (const std::string& text : {kAttention, kMamba2, kSka}) {
    const auto alone = made(text);
    const auto wrapped = made(parallel_of(text));
    copy_parameters(*alone, *wrapped, "0");
    EXPECT_TRUE(at::equal((*wrapped)(x, {}), (*alone)(x, {}))) << text;
    for (const int64_t step : {1, 17}) {
      EXPECT_TRUE(at::equal(through_state(*wrapped, x, step), through_state(*alone, x, step)))
          << text << " in stretches of " << step;
    }
  }
}

TEST(ParallelTest, AddsTheOutputsOfItsMixersTimesTheirScales) {
  c10::NoGradGuard no_grad;
  const auto attention = made(kAttention);
  const auto mamba2 = made(kMamba2);
  const auto both = made(parallel_of(kAttention + ", " + kMamba2, ", scales: [3, 0.25]"));
  copy_parameters(*attention, *both, "0");
  copy_parameters(*mamba2, *both, "1");
  const at::Tensor x = tokens(2, 50);
  const at::Tensor sum = (*attention)(x, {}) * 3 + (*mamba2)(x, {}) * 0.25;
  EXPECT_LT(testing::rms_ratio((*both)(x, {}), sum), 1e-6);
}

TEST(ParallelTest, NamesTensorsAndMemoriesByTheNumberOfTheirMixer) {
  const auto mixer = made(parallel_of("short_conv, {kind: swiglu, hidden: 8}, " +
                                      parallel_of("{kind: short_conv, gate: false}")));
  std::vector<std::string> names;
  for (const Parameter& parameter : mixer->parameters()) names.push_back(parameter.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "0.conv1d.weight", "0.conv1d.bias", "0.gate_proj.weight", "0.gate_proj.bias",
                       "1.gate_proj.weight", "1.up_proj.weight", "1.down_proj.weight",
                       "2.0.conv1d.weight", "2.0.conv1d.bias"}));
  names.clear();
  const State state = mixer->initial_state({.batch = 1});
  for (const auto& [name, entry] : state.entries()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"0.conv", "2.0.conv"}));
}

TEST(ParallelTest, RemembersAsMuchAsTheMostOfItsMixers) {
  const auto memory = [](const std::string& mixers) {
    return made(parallel_of(mixers))->traits().memory;
  };
  EXPECT_EQ(memory("swiglu"), Memory::none);
  EXPECT_EQ(memory("swiglu, short_conv"), Memory::constant);
  EXPECT_EQ(memory("short_conv, swiglu, attention"), Memory::growing);
}

TEST(ParallelTest, NeedsAPrefixWhenOneOfItsMixersDoes) {
  EXPECT_TRUE(made(parallel_of("swiglu, {kind: ska, mode: prefix}"))->traits().needs_prefix);
  EXPECT_FALSE(made(parallel_of("swiglu, {kind: ska}"))->traits().needs_prefix);
}

TEST(ParallelTest, CountsTheOperationsOfAllItsMixers) {
  EXPECT_EQ(made(parallel_of(kAttention + ", " + kMamba2))->flops(2, 100),
            made(kAttention)->flops(2, 100) + made(kMamba2)->flops(2, 100));
}

TEST(ParallelTest, RefusesAnEmptyList) {
  EXPECT_EQ(refusal(parallel_of("")),
            "mixer.mixers: names no mixer; write at least one, as in [{kind: attention, heads: 4}, "
            "mamba2]");
}

TEST(ParallelTest, RefusesScalesOfAnotherNumber) {
  EXPECT_EQ(refusal(parallel_of("swiglu, short_conv", ", scales: [1, 2, 3]")),
            "mixer.scales: as many as mixers are needed (2), found 3; write one for each, or none "
            "at all");
}

TEST(ParallelTest, NamesTheFieldOfTheMixerThatDoesNotFit) {
  EXPECT_EQ(
      refusal(parallel_of("swiglu, {kind: attention, heads: 5}")).find("mixer.mixers.1.heads: "),
      0u);
}

}  // namespace
}  // namespace echo
