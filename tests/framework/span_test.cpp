#include <echo/span.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(SpanTest, OffsetsListTheStartsOfTheValidTokens) {
  at::Tensor starts = at::zeros({2, 4}, at::kBool);
  starts[0][0] = true;
  starts[0][2] = true;
  starts[1][3] = true;
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{4, 3}, at::kLong);
  const Offsets offsets = host_offsets(starts, lengths, 2, 4);
  EXPECT_EQ(offsets.starts[0], (std::vector<int64_t>{0, 2}));
  EXPECT_TRUE(offsets.starts[1].empty());
  EXPECT_EQ(offsets.lengths, (std::vector<int64_t>{4, 3}));
}

TEST(SpanTest, OffsetsWithoutLengthsAreFull) {
  EXPECT_EQ(host_offsets({}, {}, 2, 5).lengths, (std::vector<int64_t>{5, 5}));
}

TEST(SpanTest, PositionsGoOnUntilAStart) {
  at::Tensor starts = at::zeros({2, 4}, at::kBool);
  starts[1][2] = true;
  const at::Tensor before = at::tensor(std::vector<int64_t>{7, 3}, at::kLong);
  const at::Tensor expected =
      at::tensor(std::vector<int64_t>{7, 8, 9, 10, 3, 4, 0, 1}, at::kLong).view({2, 4});
  EXPECT_TRUE(at::equal(token_positions(before, starts, 4), expected));
}

}  // namespace
}  // namespace echo
