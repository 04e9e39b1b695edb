#include <echo/testing.h>

#include <limits>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

using testing::rms_ratio;

TEST(RmsRatioTest, MeasuresTheDifferenceAgainstTheReference) {
  const at::Tensor reference = at::tensor({3.0, 4.0}, at::kDouble);
  EXPECT_NEAR(rms_ratio(reference * 1.01, reference), 0.01, 1e-12);
}

TEST(RmsRatioTest, ComparesAcrossDtypes) {
  EXPECT_EQ(rms_ratio(at::ones({3}, at::kFloat), at::ones({3}, at::kDouble)), 0);
}

TEST(RmsRatioTest, IsZeroForTwoZeros) { EXPECT_EQ(rms_ratio(at::zeros({3}), at::zeros({3})), 0); }

TEST(RmsRatioTest, IsInfiniteWhereNothingCanBeMeasured) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(rms_ratio(at::ones({3}), at::ones({4})), infinity);
  EXPECT_EQ(rms_ratio(at::ones({3}), at::zeros({3})), infinity);
  EXPECT_EQ(rms_ratio(at::full({3}, NAN), at::ones({3})), infinity);
}

}  // namespace
}  // namespace echo
