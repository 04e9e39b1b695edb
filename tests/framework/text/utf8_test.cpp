#include "framework/src/text/utf8.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

std::string byte_by_byte(const std::string& bytes) {
  Utf8Stream stream;
  std::string text;
  for (const char byte : bytes) text += stream.push(std::string_view(&byte, 1));
  return text + stream.finish();
}

TEST(Utf8Stream, HoldsACharacterBackUntilItIsWhole) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xe2\x82"), "a");
  EXPECT_EQ(stream.push("\xac"), "€");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, GivesTheSameTextHoweverTheBytesCome) {
  const std::string text = "aä€𝄞 \xff\xc3 x\xf0\x9f\x98";
  Utf8Stream stream;
  std::string whole = stream.push(text);
  whole += stream.finish();
  EXPECT_EQ(byte_by_byte(text), whole);
  EXPECT_EQ(whole, "aä€𝄞 \ufffd\ufffd x\ufffd");
}

TEST(Utf8Stream, ReplacesWhatCanNeverBeACharacter) {
  EXPECT_EQ(byte_by_byte("\x80"), "\ufffd");                           // continues nothing
  EXPECT_EQ(byte_by_byte("\xc0\xaf"), "\ufffd\ufffd");                 // an overlong slash
  EXPECT_EQ(byte_by_byte("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");       // a surrogate
  EXPECT_EQ(byte_by_byte("\xf4\x90\x80\x80").substr(0, 3), "\ufffd");  // beyond U+10FFFF
  EXPECT_EQ(byte_by_byte("\xe2\x28"), "\ufffd(");                      // cut off by a letter
}

TEST(Harmless, WritesControlCharactersOut) {
  EXPECT_EQ(harmless("a\x1b[2Jb\x07\x7f"), "a\\x1b[2Jb\\x07\\x7f");
  EXPECT_EQ(harmless("\xc2\x9b"
                     "31m"),
            "\\x9b31m");  // U+009B, a control sequence of one character
}

TEST(Harmless, KeepsLinesTabsAndLetters) {
  EXPECT_EQ(harmless("ä\tb\n\xc2\xa0€"), "ä\tb\n\xc2\xa0€");
}

}  // namespace
}  // namespace echo
