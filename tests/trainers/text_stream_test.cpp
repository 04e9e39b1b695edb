#include "trainers/text_stream.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

class BareTask : public Task {
 public:
  TaskInfo info() const override { return {}; }
  Batch batch(Split, int64_t, int64_t) const override { return {}; }
};

// Tokens are words; a space stands between two of them, not before the first.
class Words final : public BareTask {
 public:
  std::string decode(const std::vector<int64_t>& tokens) const override {
    std::string text;
    for (const int64_t token : tokens) text += (text.empty() ? "w" : " w") + std::to_string(token);
    return text;
  }
};

class Bytes final : public BareTask {
 public:
  std::string decode(const std::vector<int64_t>& tokens) const override {
    return {tokens.begin(), tokens.end()};
  }
};

std::string streamed(const Task& task, const std::vector<int64_t>& tokens) {
  TextStream stream(task);
  std::string text;
  for (const int64_t token : tokens) text += stream.push(token);
  return text + stream.finish();
}

TEST(TextStream, EqualsTheTextOfAllTokens) {
  const std::vector<int64_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_EQ(streamed(Words(), tokens), Words().decode(tokens));
}

TEST(TextStream, GivesWholeCharactersOut) {
  const Bytes bytes;
  TextStream stream(bytes);
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.push(0xa4), "ä");
  EXPECT_EQ(stream.push(0xff), "\ufffd");
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
}

TEST(TextStream, WritesNumbersForATaskWithoutText) {
  EXPECT_EQ(streamed(BareTask(), {5, 66, 7}), "5 66 7");
}

}  // namespace
}  // namespace echo
