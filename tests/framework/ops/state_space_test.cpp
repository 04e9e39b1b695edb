#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

struct Shape {
  int64_t length, ranks = 1, heads = 2, groups = 2;
  double decay = -0.3;  // mean of the log decays
};

// x, a, b, c, memory
std::vector<at::Tensor> inputs(const Shape& shape) {
  const int64_t T = shape.length, R = shape.ranks;
  return {random({2, T, R, shape.heads, 3}, 1),
          random({2, T, shape.heads}, 2).abs().mul(shape.decay * 1.25),
          random({2, T, R, shape.groups, 5}, 3), random({2, T, R, shape.groups, 5}, 4),
          random({2, shape.heads, 3, 5}, 5)};
}

using Scan = Scanned (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         const at::Tensor&, const Span&, OwnToken);

// Outputs of padding count for nothing.
Function with(Scan function, const Span& span, OwnToken own = OwnToken::read) {
  return [&span, function, own](const std::vector<at::Tensor>& in) {
    const Scanned scanned = function(in[0], in[1], in[2], in[3], in[4], span, own);
    at::Tensor y = scanned.y;
    if (span.lengths.defined()) {
      const at::Tensor t = at::arange(y.size(1));
      y = y.masked_fill((t >= span.lengths.unsqueeze(1)).view({2, -1, 1, 1, 1}), 0);
    }
    return std::vector{y, scanned.memory};
  };
}

void expect_chunks_equal_tokens(const Shape& shape, const Span& span = {}) {
  expect_equal(with(state_space_scan, span), with(reference::state_space_scan, span), inputs(shape),
               1e-11);
}

TEST(StateSpaceScanTest, ChunksEqualTokens) {
  for (const int64_t length : {1, 2, 63, 64, 65, 200}) expect_chunks_equal_tokens({length});
}

TEST(StateSpaceScanTest, HeadsReadTheirGroup) {
  expect_chunks_equal_tokens({.length = 100, .heads = 6, .groups = 2});
  expect_chunks_equal_tokens({.length = 100, .heads = 3, .groups = 1});
}

TEST(StateSpaceScanTest, RanksOfATokenReadEachOther) {
  expect_chunks_equal_tokens({.length = 70, .ranks = 3, .heads = 4});
}

TEST(StateSpaceScanTest, StartsEmptyTheMemory) {
  for (const int64_t length : {1, 64, 200})
    expect_chunks_equal_tokens({.length = length, .ranks = 2}, {.starts = some_starts(length)});
}

TEST(StateSpaceScanTest, PaddingLeavesTheMemoryAlone) {
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{150, 0}, at::kLong);
  expect_chunks_equal_tokens({200}, {.lengths = lengths});
  expect_chunks_equal_tokens({200}, {.starts = some_starts(200), .lengths = lengths});
}

TEST(StateSpaceScanTest, NothingOverflowsWhereAChunkForgetsEverything) {
  expect_chunks_equal_tokens({.length = 130, .decay = -60});
  expect_chunks_equal_tokens({.length = 130, .decay = -1e-12});
}

TEST(StateSpaceScanTest, PiecesFollowEachOther) {
  // More chunks than are worked on at once.
  expect_chunks_equal_tokens({.length = 2100, .heads = 1, .groups = 1});
}

TEST(StateSpaceScanTest, ATokenAloneIsReadInPlace) {
  c10::NoGradGuard no_grad;
  const at::Tensor starts = at::tensor({0, 0, 1, 0, 0, 0, 0, 0}).to(at::kBool).view({2, 4});
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{4, 2}, at::kLong);
  const Span span{.starts = starts, .lengths = lengths};
  for (const OwnToken own : {OwnToken::read, OwnToken::skipped}) {
    for (const int64_t ranks : {1, 3}) {
      std::vector<at::Tensor> in = inputs({.length = 4, .ranks = ranks, .heads = 4});
      const auto expected = with(reference::state_space_scan, span, own)(in);
      const auto result = with(state_space_scan, span, own)(in);
      EXPECT_LT(testing::rms_ratio(result[0], expected[0]), 1e-14);
      EXPECT_LT(testing::rms_ratio(in[4], expected[1]), 1e-14);
      EXPECT_TRUE(result[1].is_same(in[4]));
    }
  }
}

TEST(StateSpaceScanTest, WithoutAMemoryItBeginsEmptyAndReturnsNone) {
  const std::vector<at::Tensor> in = inputs({100});
  const Scanned without = state_space_scan(in[0], in[1], in[2], in[3], {}, {});
  const Scanned with = state_space_scan(in[0], in[1], in[2], in[3], at::zeros_like(in[4]), {});
  EXPECT_LT(testing::rms_ratio(without.y, with.y), 1e-14);
  EXPECT_FALSE(without.memory.defined());
}

}  // namespace
}  // namespace echo
