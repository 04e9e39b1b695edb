#include "framework/src/text/near.h"

#include <gtest/gtest.h>

namespace echo {

namespace {

TEST(NearName, FindsAWordWithAMissingLetter) {
  EXPECT_EQ(near_name("head", {"rank", "heads"}), "heads");
}

TEST(NearName, FindsAWordWithSwappedLetters) {
  EXPECT_EQ(near_name("trian", {"task", "train"}), "train");
}

TEST(NearName, IgnoresCase) { EXPECT_EQ(near_name("Heads", {"heads"}), "heads"); }

TEST(NearName, FindsThePluginsKindWithoutItsPrefix) {
  EXPECT_EQ(near_name("based", {"bases", "example/based"}), "example/based");
}

TEST(NearName, FindsAnAbbreviatedWord) {
  EXPECT_EQ(near_name("attn", {"ska", "attention"}), "attention");
}

TEST(NearName, TakesTheNearestOfSeveral) {
  EXPECT_EQ(near_name("step", {"stop_at", "steps", "shape"}), "steps");
}

TEST(NearName, CompletesTheBeginningOfOneNameOnly) {
  EXPECT_EQ(near_name("--temp", {"--help", "--temperature"}), "--temperature");
  EXPECT_EQ(near_name("head", {"head_width", "heads"}), "heads");
}

TEST(NearName, FindsNothingForAnotherWord) {
  EXPECT_EQ(near_name("banana", {"heads", "rank"}), "");
}

TEST(NearName, FindsNothingForAnEmptyWord) { EXPECT_EQ(near_name("", {"a"}), ""); }

TEST(NearName, FindsNothingForAVeryLongWord) {
  EXPECT_EQ(near_name(std::string(100000, 'a'), {"a"}), "");
}

TEST(NearName, DoesNotTakeOneLetterForAnother) { EXPECT_EQ(near_name("x", {"y"}), ""); }

TEST(KnownWords, NamesTheNearestFirst) {
  EXPECT_EQ(known_words("head", "its fields", {"heads", "rank"}),
            "; did you mean 'heads'? Its fields: heads, rank");
}

TEST(KnownWords, ListsAllWhenNoneIsNear) {
  EXPECT_EQ(known_words("banana", "its fields", {"heads", "rank"}), "; its fields: heads, rank");
}

}  // namespace

}  // namespace echo
