// A sequence of a million tokens, shared by four ranks.
#include "framework/src/ranks/local_communicator.h"
#include "framework/src/ranks/rank_stretch.h"
#include "tests/mixers/wrappers.h"

#include <c10/core/GradMode.h>

namespace echo {
namespace {

constexpr int64_t kLength = 1 << 20;
constexpr int64_t kRanks = 4;

class RanksLongTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RanksLongTest, AMillionTokensOnFourRanksAreThoseOfOne) {
  c10::NoGradGuard no_grad;
  const Place place{.width = 16};
  const at::Tensor x = tokens(1, kLength, 16);
  const at::Tensor whole = (*made(GetParam(), place))(x, {});
  std::vector<at::Tensor> parts(kRanks);
  std::vector<int64_t> bytes(kRanks);
  run_local_ranks(kRanks, 600, [&](Communicator& ranks) {
    c10::NoGradGuard also_here;
    const auto rank = static_cast<size_t>(ranks.rank());
    const SequencePart part =
        part_of(host_offsets({}, {}, 1, kLength), kLength, ranks.rank(), kRanks);
    RankStretch stretch(ranks, part);
    parts[rank] =
        (*made(GetParam(), place))(x.narrow(1, part.first(), part.count()), {.stretch = &stretch});
    bytes[rank] = ranks.bytes_sent();
  });
  EXPECT_LE(testing::rms_ratio(at::cat(parts, 1), whole), 1e-4);
  EXPECT_LE(bytes[0], 16384);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RanksLongTest,
                         ::testing::Values("{kind: mamba2, head_width: 8, state: 8}",
                                           "{kind: mamba3, head_width: 8, state: 8}",
                                           "{kind: gated_deltanet, heads: 2}",
                                           "{kind: linear_attention, heads: 2}",
                                           "{kind: gla, heads: 2}", "{kind: short_conv}",
                                           "{kind: ska, heads: 2, rank: 6}"));

}  // namespace
}  // namespace echo
