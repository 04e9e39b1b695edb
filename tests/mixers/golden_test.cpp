// Every golden file in tests/golden, through the mixer that it names.
#include "framework/src/files/safetensors.h"
#include "framework/src/testing/verify.h"
#include "tests/support/builtins.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

namespace echo {
namespace {

std::vector<std::filesystem::path> golden_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(ECHO_SOURCE_DIR) / "tests/golden")) {
    if (entry.path().extension() != ".safetensors") continue;
    if (read_safetensors(entry.path()).metadata["level"] != "core") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class GoldenTest : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(GoldenTest, TheMixerComputesWhatTheReferenceDoes) {
  const testing::Verification verification =
      testing::verify(testing::read_golden(GetParam()), builtin_registry());
  EXPECT_EQ(verification.failure, "");
  EXPECT_FALSE(verification.comparisons.empty());
  for (const testing::Comparison& row : verification.comparisons) {
    EXPECT_TRUE(row.passed) << row.tensor << ", " << row.way << " " << row.worst << ": float64 "
                            << row.float64.value_or(-1) << ", float32 " << row.float32.value_or(-1);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTest, ::testing::ValuesIn(golden_files()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace echo
