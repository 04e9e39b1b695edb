#include "mixers/swiglu/swiglu.h"

#include "tests/mixers/conformance.h"

#include <ATen/ATen.h>

namespace echo {
namespace {

TEST(SwigluTest, Conforms) { expect_conforms<Swiglu>(SwigluOptions{.hidden = 40}); }

TEST(SwigluTest, HiddenIsEightThirdsOfTheWidthByDefault) {
  SwigluOptions options;
  options.complete({.width = 64});
  EXPECT_EQ(options.hidden, 192);
  options.hidden.reset();
  options.complete({.width = 768});
  EXPECT_EQ(options.hidden, 2048);
}

}  // namespace
}  // namespace echo
