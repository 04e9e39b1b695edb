#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

#include <cmath>

namespace echo {
namespace {

at::Tensor whole_numbers(int64_t first, int64_t count) {
  return at::arange(first, first + count, at::TensorOptions().dtype(at::kLong)).unsqueeze(0);
}

TEST(RotaryTest, EqualsItsReference) {
  const at::Tensor frequencies = rotary_frequencies(1e4, 6, at::kCPU);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::Tensor each = at::cat({whole_numbers(0, 30), whole_numbers(70, 30)}, 0);
    for (const at::Tensor& positions : {whole_numbers(3, 30), each}) {
      const Rotation turn = rotation(positions, frequencies, dtype);
      expect_equal([&](const auto& in) { return std::vector{rotate(in[0], turn)}; },
                   [&](const auto& in) { return std::vector{reference::rotate(in[0], turn)}; },
                   {random({2, 30, 3, 10}, 1, dtype)}, rounding(dtype));
    }
  }
}

TEST(RotaryTest, TurnsHalfSplitPairsByPositionTimesFrequency) {
  const Rotation turn =
      rotation(whole_numbers(5, 1), rotary_frequencies(100, 4, at::kCPU), at::kDouble);
  const at::Tensor x = at::tensor({1.0, 2.0, 3.0, 4.0, 9.0}, at::kDouble).view({1, 1, 1, 5});
  const at::Tensor y = rotate(x, turn).flatten();
  EXPECT_NEAR(y[0].item<double>(), std::cos(5.0) - 3 * std::sin(5.0), 1e-14);
  EXPECT_NEAR(y[2].item<double>(), 3 * std::cos(5.0) + std::sin(5.0), 1e-14);
  EXPECT_NEAR(y[1].item<double>(), 2 * std::cos(0.5) - 4 * std::sin(0.5), 1e-14);
  EXPECT_EQ(y[4].item<double>(), 9);
}

TEST(RotaryTest, AnglesKeepTheirDigitsAtLargePositions) {
  const Rotation turn =
      rotation(whole_numbers(123'456'789, 1), rotary_frequencies(1e4, 2, at::kCPU), at::kFloat);
  EXPECT_NEAR(turn.cosine.item<float>(), std::cos(123456789.0), 1e-7);
}

}  // namespace
}  // namespace echo
