#include <echo/vectors.h>

#include <limits>

#include <gtest/gtest.h>

namespace echo::vectors {
namespace {

TEST(VectorsTest, ExpOfAFloatIsThatOfADoubleToItsRounding) {
  for (float x = -87; x < 87; x += 0.013F)
    EXPECT_NEAR(exp(x) / std::exp(static_cast<double>(x)), 1, 2e-7) << x;
}

TEST(VectorsTest, ExpEndsWhereFloatsEnd) {
  for (const float x : {88.5F, 1e9F, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(exp(x), exp(87.0F));
    EXPECT_EQ(exp(-x), exp(-87.0F));
  }
}

TEST(VectorsTest, SiluIsItsArgumentFarUpAndNothingFarDown) {
  EXPECT_EQ(silu(1e9F), 1e9F);
  EXPECT_NEAR(silu(-1e3F), 0, 1e-30);
  EXPECT_TRUE(std::isnan(silu(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorsTest, SineAndCosineOfAFloatAreThoseOfADouble) {
  for (float x = -1; x < 7; x += 0.0007F) {
    const auto [sine, cosine] = sine_cosine(x);
    EXPECT_NEAR(sine, std::sin(static_cast<double>(x)), 2e-7) << x;
    EXPECT_NEAR(cosine, std::cos(static_cast<double>(x)), 2e-7) << x;
  }
}

TEST(VectorsTest, DotsTakeWhatFillsNoLanes) {
  double a[37], b[37], expected = 0;
  for (int64_t i = 0; i < 37; ++i) {
    a[i] = 1 + static_cast<double>(i);
    b[i] = 2 - static_cast<double>(i);
    expected += a[i] * b[i];
  }
  EXPECT_EQ(dot(a, b, 37), expected);
  double to[37];
  EXPECT_EQ(assign_dot(to, b, 37, [&](int64_t i) { return a[i]; }), expected);
  EXPECT_EQ(to[36], a[36]);
}

}  // namespace
}  // namespace echo::vectors
