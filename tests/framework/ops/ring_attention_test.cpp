#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace echo {
namespace {

struct Rings {
  at::Tensor k, v;
};

at::Tensor numbers(std::initializer_list<int64_t> values) {
  return at::tensor(std::vector<int64_t>(values), at::kLong);
}

// Three rows in different states: an empty ring, a part of one, one that has gone round.
void expect_equal_to_reference(int64_t heads, int64_t groups, int64_t capacity,
                               at::ScalarType dtype, const at::Tensor& lengths) {
  const int64_t width = 20;
  const auto draw = [&](std::vector<int64_t> shape, uint64_t seed) {
    return random(shape, seed, dtype);
  };
  const at::Tensor q = draw({3, 1, heads, width}, 1);
  const at::Tensor kv = draw({3, 1, 2 * groups, width}, 2);  // parts of a packed projection
  const at::Tensor k = kv.narrow(2, 0, groups);
  const at::Tensor v = kv.narrow(2, groups, groups);
  const at::Tensor positions = numbers({0, capacity / 2, 2 * capacity + 1}).unsqueeze(1);
  Rings mine{draw({3, groups, capacity, width}, 3), draw({3, groups, capacity, width}, 4)};
  Rings other{mine.k.clone(), mine.v.clone()};
  const at::Tensor y = attend_ring(q, k, v, mine.k, mine.v, positions, lengths);
  const at::Tensor expected = reference::attend_ring(q, k, v, other.k, other.v, positions, lengths);
  EXPECT_TRUE(at::equal(mine.k, other.k));
  EXPECT_TRUE(at::equal(mine.v, other.v));
  const int64_t rows = lengths.defined() ? 2 : 3;  // the last row is padding then
  EXPECT_LE(testing::rms_ratio(y.narrow(0, 0, rows), expected.narrow(0, 0, rows)), rounding(dtype));
  EXPECT_TRUE(at::isfinite(y).all().item<bool>());
}

TEST(RingAttentionTest, EqualsItsReference) {
  c10::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int64_t capacity : {1, 7, 128, 300}) {
      expect_equal_to_reference(6, 2, capacity, dtype, {});
      expect_equal_to_reference(3, 3, capacity, dtype, {});
    }
  }
}

TEST(RingAttentionTest, PaddingWritesNothing) {
  c10::NoGradGuard no_grad;
  expect_equal_to_reference(4, 2, 9, at::kDouble, numbers({1, 1, 0}));
}

TEST(RingAttentionTest, APaddedRowOfAnEmptyRingIsZero) {
  c10::NoGradGuard no_grad;
  const at::Tensor one = at::ones({1, 1, 1, 4});
  const at::Tensor ring = at::zeros({1, 1, 3, 4});
  const at::Tensor y = attend_ring(one, one, one, ring.clone(), ring.clone(),
                                   numbers({0}).unsqueeze(1), numbers({0}));
  EXPECT_TRUE(at::equal(y, at::zeros({1, 1, 1, 4})));
}

TEST(RingAttentionTest, LargeScoresDoNotOverflow) {
  c10::NoGradGuard no_grad;
  const at::Tensor q = at::full({1, 1, 1, 4}, 1e4f);
  const at::Tensor k = at::full({1, 1, 1, 4}, 1e4f);
  const at::Tensor v = at::ones({1, 1, 1, 4});
  const at::Tensor y = attend_ring(q, k, v, at::zeros({1, 1, 8, 4}), at::zeros({1, 1, 8, 4}),
                                   numbers({5}).unsqueeze(1), {});
  EXPECT_TRUE(at::equal(y, v));
}

TEST(RingAttentionTest, ThreadsChangeNoBit) {
  c10::NoGradGuard no_grad;
  const at::Tensor q = random({4, 1, 8, 64}, 1, at::kFloat);
  const at::Tensor k = random({4, 1, 4, 64}, 2, at::kFloat);
  const at::Tensor ring = random({4, 4, 500, 64}, 3, at::kFloat);
  const auto result = [&] {
    return attend_ring(q, k, k, ring.clone(), ring.clone(), numbers({10, 499, 700, 3}).unsqueeze(1),
                       {});
  };
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = result();
  at::set_num_threads(3);
  const at::Tensor three = result();
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one, three));
}

}  // namespace
}  // namespace echo
