#include "tests/framework/ops/compare.h"

namespace echo {
namespace {

TEST(ActivationTest, SiluMultiplyEqualsTheTwoOperators) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    expect_equal([](const auto& in) { return std::vector{silu_multiply(in[0], in[1])}; },
                 [](const auto& in) { return std::vector{at::silu(in[0]) * in[1]}; },
                 {random({7, 33}, 1, dtype), random({7, 33}, 2, dtype)}, rounding(dtype));
  }
}

}  // namespace
}  // namespace echo
