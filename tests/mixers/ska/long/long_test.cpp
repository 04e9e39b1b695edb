#include "framework/src/accounting/meter.h"
#include "mixers/ska/ska.h"
#include "tests/mixers/conformance.h"

#include <echo/random.h>

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {
namespace {

constexpr int64_t kLength = 100'000;

at::Tensor input(int64_t width) {
  at::Generator stream = generator(2, "x");
  return at::empty({1, kLength, width}, at::kFloat).normal_(0, 1, stream);
}

TEST(SkaLongTest, AHundredThousandDecodedTokensEqualOnePrefill) {
  const c10::NoGradGuard no_grad;
  const auto mixer = make_mixer<Ska>(SkaOptions{.heads = 1, .rank = 12}, {.width = 24});
  const at::Tensor x = input(24);
  State prefilled = mixer->initial_state({}), decoded = mixer->initial_state({});
  Span span;
  span.state = &prefilled;
  const at::Tensor expected = (*mixer)(x, span);
  span.state = &decoded;
  at::Tensor y = at::empty_like(x);
  for (int64_t t = 0; t < kLength; ++t)
    y.select(1, t).copy_((*mixer)(x.slice(1, t, t + 1), span)[0]);
  EXPECT_LE(testing::rms_ratio(y, expected), 1e-4);
  EXPECT_LE(testing::rms_ratio(y.slice(1, kLength - 1000), expected.slice(1, kLength - 1000)),
            1e-3);
  // Token by token a sum in float32 is rounded kLength times, by half a unit of its last place.
  const double rounding = std::sqrt(static_cast<double>(kLength)) * 0x1p-24;
  for (const char* name : {"G", "M", "C", "z_prev"})
    EXPECT_LE(testing::rms_ratio(decoded.get(name), prefilled.get(name)), rounding) << name;
}

TEST(SkaLongTest, NothingButItsOutputGrowsWithASequenceThatIsReadAtOnce) {
  const c10::NoGradGuard no_grad;
  const auto mixer =
      make_mixer<Ska>(SkaOptions{.heads = 12, .rank = 48, .power = 2}, {.width = 768});
  const at::Tensor x = input(768);
  at::Tensor y;
  const int64_t peak = peak_bytes([&] { y = (*mixer)(x, {}); });
  EXPECT_TRUE(at::isfinite(y).all().item<bool>());
  const auto bytes = static_cast<int64_t>(y.nbytes());
  EXPECT_LE(peak - bytes, 200 << 20);
}

}  // namespace
}  // namespace echo
