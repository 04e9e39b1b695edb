#include "trainers/tasks/shared/show.h"

#include <gtest/gtest.h>

namespace echo {

namespace {

TEST(VisibleText, KeepsTextOfAnyLanguage) {
  EXPECT_EQ(visible_text("In the beginning, ἐν ἀρχῇ 太初 𐌰"), "In the beginning, ἐν ἀρχῇ 太初 𐌰");
}

TEST(VisibleText, ShowsControlCharactersAsPictures) {
  EXPECT_EQ(visible_text("a\tb\x1b[31m\x7f"), "a␉b␛[31m␡");
}

TEST(VisibleText, BreaksLinesAfterTheirPicture) { EXPECT_EQ(visible_text("a\nb"), "a␊\nb"); }

TEST(VisibleText, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(visible_text("a\xff\xc3"), "a\\xff\\xc3");
  EXPECT_EQ(visible_text("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(visible_text("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half of a surrogate pair
  EXPECT_EQ(visible_text("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
}

TEST(VisibleText, EscapesControlCharactersOfTwoBytes) {
  EXPECT_EQ(visible_text("\xc2\x9b"), "\\xc2\\x9b");  // starts a sequence in some terminals
}

}  // namespace

}  // namespace echo
