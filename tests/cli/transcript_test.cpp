#include "tests/cli/transcript.h"

#include "tests/cli/process.h"

#include <cstdlib>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "  | " + line + "\n";
  return text.empty() ? "  (nothing)\n" : text;
}

void expect_lines(const char* what, const std::vector<std::string>& patterns,
                  const std::string& text) {
  const std::vector<std::string> lines = visible_lines(text);
  EXPECT_TRUE(matches(patterns, lines)) << what << " is\n"
                                        << joined(lines) << "and should be\n"
                                        << joined(patterns);
}

class TranscriptTest : public testing::Test {
 public:
  explicit TranscriptTest(Transcript transcript) : transcript_(std::move(transcript)) {}

  void TestBody() override {
    for (const std::string& program : transcript_.needs) {
      if (std::system(("command -v " + program + " > /dev/null").c_str()) != 0)
        GTEST_SKIP() << program << " is not installed";
    }
    SCOPED_TRACE(transcript_.place + "\n$ " + transcript_.command);
    const TemporaryFolder folder;
    const Outcome outcome =
        run_bash(transcript_.command, folder.path(), transcript_.terminal_columns);
    expect_lines("stdout", transcript_.output, outcome.output);
    expect_lines("stderr", transcript_.mistakes, outcome.mistakes);
    EXPECT_EQ(outcome.code, transcript_.code);
  }

 private:
  Transcript transcript_;
};

void register_all() {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path folder = std::filesystem::path(ECHO_SOURCE_DIR) / "tests/cli";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".test") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    for (const Transcript& transcript : read_transcripts(file)) {
      testing::RegisterTest(
          file.stem().c_str(), transcript.title.c_str(), nullptr, nullptr, file.c_str(), 1,
          [transcript]() -> testing::Test* { return new TranscriptTest(transcript); });
    }
  }
}

TEST(Matching, TreatsThreeDotsAsAnyText) {
  EXPECT_TRUE(matches({"a ... c"}, {"a b b c"}));
  EXPECT_FALSE(matches({"a ... c"}, {"a b b"}));
}

TEST(Matching, TreatsALineOfThreeDotsAsAnyLines) {
  EXPECT_TRUE(matches({"a", "...", "c"}, {"a", "b", "b", "c"}));
  EXPECT_TRUE(matches({"a", "...", "c"}, {"a", "c"}));
  EXPECT_FALSE(matches({"a", "...", "c"}, {"a", "b"}));
}

TEST(Matching, DemandsThatEveryLineIsExpected) { EXPECT_FALSE(matches({"a"}, {"a", "b"})); }

TEST(VisibleLines, ShowControlCharacters) {
  EXPECT_THAT(visible_lines("\x1b[1mx\r\n"), testing::ElementsAre("\\x1b[1mx"));
}

}  // namespace
}  // namespace echo

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  echo::register_all();
  return RUN_ALL_TESTS();
}
