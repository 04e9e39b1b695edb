#include "mixers/ska/inverse_factor.h"

#include "tests/mixers/ska/support.h"

namespace echo::ska {
namespace {

at::Tensor gram_matrices(int64_t count, int64_t size, at::ScalarType dtype) {
  at::Generator stream = generator(3, "gram");
  const at::Tensor z = draw({count, 2 * size, size}, stream).to(dtype);
  return at::bmm(z.mT(), z) + at::eye(size, z.options());
}

TEST(InverseFactorTest, EqualsTheReferenceAtEverySize) {
  for (const int64_t size : {1, 2, 7, 24, 33, 64}) {
    for (const int64_t count : {1, 3, 8, 13}) {
      const at::Tensor wide = gram_matrices(count, size, at::kDouble);
      EXPECT_LE(testing::rms_ratio(inverse_factor(wide, 1), inverse_factor_reference(wide)), 1e-13);
      const at::Tensor narrow = wide.to(at::kFloat);
      EXPECT_LE(testing::rms_ratio(inverse_factor(narrow, 1), inverse_factor_reference(wide)),
                1e-5);
    }
  }
}

TEST(InverseFactorTest, ReadsTheLowerTriangleOnly) {
  const at::Tensor matrices = gram_matrices(5, 9, at::kDouble);
  EXPECT_TRUE(at::equal(inverse_factor(matrices.tril(), 1), inverse_factor(matrices, 1)));
}

TEST(InverseFactorTest, RaisesPivotsToTheFloor) {
  const at::Tensor singular = at::ones({1, 3, 3}, at::kFloat);
  const at::Tensor factor = inverse_factor(singular, 0.25);
  EXPECT_TRUE(at::isfinite(factor).all().item<bool>());
  EXPECT_FLOAT_EQ(factor[0][2][2].item<float>(), 2);
}

TEST(InverseFactorTest, KeepsWhatIsNoNumber) {
  at::Tensor matrices = gram_matrices(2, 4, at::kFloat);
  matrices[1][2][2] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor factors = inverse_factor(matrices, 1);
  EXPECT_TRUE(at::isfinite(factors[0]).all().item<bool>());
  EXPECT_FALSE(at::isfinite(factors[1]).all().item<bool>());
}

}  // namespace
}  // namespace echo::ska
