#include "framework/src/text/terminal.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(Wrap, BreaksAtSpacesWithinTheWidth) {
  EXPECT_EQ(wrap("one two three four", 9), "one two\nthree\nfour");
}

TEST(Wrap, IndentsEveryLineButTheFirst) {
  EXPECT_EQ(wrap("one two three", 7, 2), "one two\n  three");
}

TEST(Wrap, LeavesALongWordWhole) { EXPECT_EQ(wrap("a bbbbbbbb c", 4), "a\nbbbbbbbb\nc"); }

TEST(Wrap, KeepsParagraphsAndTheirMargins) {
  EXPECT_EQ(wrap("one\n\n    two three", 60), "one\n\n    two three");
}

TEST(Wrap, CountsCharactersNotBytes) { EXPECT_EQ(wrap("ä ö ü", 5), "ä ö ü"); }

TEST(Wrap, LeavesTheTextWithoutAWidth) { EXPECT_EQ(wrap("one two", 0), "one two"); }

TEST(Cut, EndsAtACharacterAndMarksTheCut) {
  EXPECT_EQ(cut({.utf8 = true}, "äöüß", 3), "äö…");
  EXPECT_EQ(cut({.utf8 = true}, "äöüß", 4), "äöüß");
  EXPECT_EQ(cut({}, "abcdef", 4), "ab..");
}

TEST(Styled, WritesNoControlCharactersWithoutColour) {
  EXPECT_EQ(styled({}, Style::red, "x"), "x");
  EXPECT_EQ(styled({.colour = true}, Style::bold, "x"), "\x1b[1mx\x1b[0m");
}

}  // namespace
}  // namespace echo
