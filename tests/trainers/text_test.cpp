#include "trainers/text.h"

#include <limits>

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(Text, WritesDurationsInTwoUnits) {
  EXPECT_EQ(duration_text(0), "0:00");
  EXPECT_EQ(duration_text(7.4), "0:07");
  EXPECT_EQ(duration_text(725), "12:05");
  EXPECT_EQ(duration_text(3599.6), "1h00m");
  EXPECT_EQ(duration_text(12000), "3h20m");
  EXPECT_EQ(duration_text(187200), "2d04h");
  EXPECT_EQ(duration_text(364.9 * 86400), "364d21h");
  EXPECT_EQ(duration_text(366.0 * 86400), "> 1 year");
  EXPECT_EQ(duration_text(1e300), "> 1 year");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "?");
}

TEST(Text, WritesCountsInThreeDigits) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(950), "950");
  EXPECT_EQ(count_text(999.6), "1.0k");
  EXPECT_EQ(count_text(12345), "12.3k");
  EXPECT_EQ(count_text(456789), "457k");
  EXPECT_EQ(count_text(1.5e6), "1.5M");
}

TEST(Text, WritesBytesInBinaryUnits) {
  EXPECT_EQ(bytes_text(512), "512 bytes");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(int64_t{3} << 30), "3.0 GiB");
}

TEST(Text, WritesNumbersWithFourDigits) {
  EXPECT_EQ(number_text(0.012345), "0.01235");
  EXPECT_EQ(number_text(2.9e-5), "2.9e-05");
}

TEST(Text, QuotesWordsThatAShellWouldTakeApart) {
  EXPECT_EQ(shell_word("runs/a-2"), "runs/a-2");
  EXPECT_EQ(shell_word("my runs/a"), "'my runs/a'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace echo
