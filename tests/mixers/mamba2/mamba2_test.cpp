#include "mixers/mamba2/mamba2.h"

#include "framework/src/files/safetensors.h"
#include "tests/mixers/conformance.h"

#include <echo/ops.h>

#include <ATen/ATen.h>

namespace echo {
namespace {

TEST(Mamba2Test, Conforms) {
  expect_conforms<Mamba2>(Mamba2Options{.head_width = 16, .state = 12});
}

TEST(Mamba2Test, ConformsWithGroupsAndBiases) {
  expect_conforms<Mamba2>(
      Mamba2Options{.head_width = 8, .state = 6, .groups = 4, .kernel = 3, .bias = true});
}

TEST(Mamba2Test, ConformsWithOddWidths) {
  expect_conforms<Mamba2>(
      Mamba2Options{.expand = 3, .head_width = 5, .state = 7, .conv_bias = false}, {.width = 15});
}

TEST(Mamba2Test, ConformsWithLimitedTimeSteps) {
  expect_conforms<Mamba2>(Mamba2Options{.head_width = 16, .state = 4, .dt_limit = {0.1, 2}});
}

TEST(Mamba2Test, ConformsWithoutANorm) {
  expect_conforms<Mamba2>(
      Mamba2Options{.expand = 1.5, .head_width = 12, .state = 4, .groups = 2, .norm = false});
}

TEST(Mamba2Test, ConformsWithoutAConvolution) {
  expect_conforms<Mamba2>(Mamba2Options{.head_width = 16, .state = 4, .kernel = 1});
}

// The recurrence alone, by the code of its authors.
TEST(Mamba2Test, TheScanComputesWhatTheReferenceDoes) {
  const auto file = read_safetensors(std::filesystem::path(ECHO_SOURCE_DIR) /
                                     "tests/golden/mamba2_core.safetensors");
  const auto load = [&](const char* name) {
    return file.tensors.at(name).to(at::kDouble).detach().requires_grad_(true);
  };
  const at::Tensor xh = load("xh"), dt = load("dt"), A_log = load("A_log"), S0 = load("S0");
  const at::Tensor Bm = load("Bm"), Cm = load("Cm");
  const Scanned scanned = state_space_scan((xh * dt.unsqueeze(3)).unsqueeze(2), dt * -A_log.exp(),
                                           Bm.unsqueeze(2), Cm.unsqueeze(2), S0, {});
  const at::Tensor y = scanned.y.squeeze(2);
  EXPECT_LT(testing::rms_ratio(y, file.tensors.at("y")), 1e-6);
  EXPECT_LT(testing::rms_ratio(scanned.memory, file.tensors.at("state.ssm")), 1e-6);
  ((y * file.tensors.at("w")).sum() + (scanned.memory * file.tensors.at("w_ssm")).sum()).backward();
  for (const auto& [name, leaf] :
       {std::pair{"d_xh", xh}, std::pair{"d_dt", dt}, std::pair{"d_A_log", A_log},
        std::pair{"d_S0", S0}, std::pair{"d_Bm", Bm}, std::pair{"d_Cm", Cm}})
    EXPECT_LT(testing::rms_ratio(leaf.grad(), file.tensors.at(name)), 1e-6) << name;
}

TEST(Mamba2Test, RefusesAHeadWidthThatDoesNotDivideTheInnerWidth) {
  EXPECT_EQ(
      refusal<Mamba2Options>({.head_width = 64}, "head_width"),
      "head_width 64 does not divide the inner width 96 (expand x 48); choose a divisor of it");
}

TEST(Mamba2Test, RefusesARatioThatMakesNoInnerWidth) {
  EXPECT_EQ(refusal<Mamba2Options>({.expand = 1.3, .head_width = 16}, "expand"),
            "expand 1.3 makes no inner width of 48 channels; choose a ratio whose product with 48 "
            "is a whole number, as 2 or 1.5");
}

TEST(Mamba2Test, RefusesGroupsThatDoNotDivideTheHeads) {
  EXPECT_EQ(refusal<Mamba2Options>({.head_width = 16, .groups = 4}, "groups"),
            "groups is 4, which does not divide the 6 heads (inner width 96 / head_width 16)");
}

TEST(Mamba2Test, RefusesLimitsThatAreNoInterval) {
  for (const std::vector<double>& limits : {std::vector<double>{0.1}, {0.2, 0.1}}) {
    EXPECT_EQ(refusal<Mamba2Options>({.head_width = 16, .dt_limit = limits}, "dt_limit"),
              "dt_limit is a least and a largest time step, as in [0, null] or [1e-3, 0.1]");
  }
}

}  // namespace
}  // namespace echo
