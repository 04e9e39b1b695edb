#include "framework/src/ops/reference.h"
#include "tests/framework/ops/compare.h"

namespace echo {
namespace {

// q, k, v, memory
std::vector<at::Tensor> inputs(int64_t length, int64_t heads, int64_t groups) {
  return {random({2, length, heads, 5}, 1), random({2, length, groups, 5}, 2),
          random({2, length, groups, 3}, 3), random({2, heads, 5, 3}, 4)};
}

void expect_chunks_equal_tokens(int64_t length, int64_t heads, int64_t groups, const Span& span) {
  const auto with = [&](auto function) {
    return [&span, function](const std::vector<at::Tensor>& in) {
      const Attended attended = function(in[0], in[1], in[2], in[3], span);
      at::Tensor o = attended.o;
      if (span.lengths.defined()) {
        const at::Tensor t = at::arange(o.size(1));
        o = o.masked_fill((t >= span.lengths.unsqueeze(1)).view({2, -1, 1, 1}), 0);
      }
      return std::vector{o, attended.memory};
    };
  };
  expect_equal(with(linear_attention), with(reference::linear_attention),
               inputs(length, heads, groups), 1e-12);
}

TEST(LinearAttentionTest, ChunksEqualTokens) {
  for (const int64_t length : {1, 2, 63, 64, 65, 200}) {
    expect_chunks_equal_tokens(length, 2, 2, {});
  }
}

TEST(LinearAttentionTest, HeadsReadTheirGroups) { expect_chunks_equal_tokens(100, 6, 2, {}); }

TEST(LinearAttentionTest, StartsEmptyTheMemory) {
  for (const int64_t length : {1, 64, 200}) {
    expect_chunks_equal_tokens(length, 2, 1, {.starts = some_starts(length)});
  }
}

TEST(LinearAttentionTest, PaddingLeavesTheMemoryAlone) {
  const at::Tensor lengths = at::tensor(std::vector<int64_t>{150, 0}, at::kLong);
  expect_chunks_equal_tokens(200, 2, 2, {.lengths = lengths});
  expect_chunks_equal_tokens(200, 2, 2, {.starts = some_starts(200), .lengths = lengths});
}

TEST(LinearAttentionTest, SegmentsFollowEachOther) {
  // More tokens than are worked on at once, against the same tokens in two calls.
  const at::Tensor q = random({1, 4500, 1, 4}, 1);
  const at::Tensor k = random({1, 4500, 1, 4}, 2);
  const at::Tensor v = random({1, 4500, 1, 4}, 3);
  const auto part = [](const at::Tensor& x, int64_t first, int64_t count) {
    return x.narrow(1, first, count);
  };
  const at::Tensor empty = at::zeros({1, 1, 4, 4}, at::kDouble);
  const Attended whole = linear_attention(q, k, v, empty, {});
  const Attended first =
      linear_attention(part(q, 0, 1000), part(k, 0, 1000), part(v, 0, 1000), empty, {});
  const Attended rest = linear_attention(part(q, 1000, 3500), part(k, 1000, 3500),
                                         part(v, 1000, 3500), first.memory, {});
  EXPECT_LT(testing::rms_ratio(at::cat({first.o, rest.o}, 1), whole.o), 1e-13);
  EXPECT_LT(testing::rms_ratio(rest.memory, whole.memory), 1e-13);
  const Attended without = linear_attention(q, k, v, {}, {});
  EXPECT_LT(testing::rms_ratio(without.o, whole.o), 1e-13);
  EXPECT_FALSE(without.memory.defined());
}

TEST(LinearAttentionTest, RefusesGroupsThatDoNotDivideTheHeads) {
  EXPECT_THROW(linear_attention(at::ones({1, 2, 3, 4}), at::ones({1, 2, 2, 4}),
                                at::ones({1, 2, 2, 4}), {}, {}),
               std::logic_error);
}

}  // namespace
}  // namespace echo
