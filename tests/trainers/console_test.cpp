#include "trainers/console.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace testing_run;

Terminal narrow() {
  Terminal terminal;
  terminal.interactive = true;
  terminal.width = 20;
  return terminal;
}

TEST(Console, CutsTheProgressLineToTheTerminal) {
  std::ostringstream out;
  {
    Console console(out, narrow);
    console.progress([](int64_t columns) {
      EXPECT_EQ(columns, 19);
      return std::string(50, 'x');
    });
  }
  EXPECT_THAT(out.str(), HasSubstr(std::string(19, 'x')));
  EXPECT_THAT(out.str(), Not(HasSubstr(std::string(20, 'x'))));
}

TEST(Console, ClearsTheProgressLineBeforeALine) {
  std::ostringstream out;
  Console console(out, narrow);
  console.progress([](int64_t) { return "half"; });
  console.line("whole");
  EXPECT_EQ(out.str(), "\rhalf\r    \rwhole\n");
}

TEST(Console, BreaksLinesAtTheWidthOfTheTerminal) {
  std::ostringstream out;
  Console(out, narrow).line("a line of more than twenty columns");
  EXPECT_EQ(out.str(), "a line of more than\n  twenty columns\n");
}

TEST(Console, RedrawsAtMostTenTimesASecond) {
  std::ostringstream out;
  Console console(out, narrow);
  int drawn = 0;
  for (int i = 0; i < 1000; ++i)
    console.progress([&](int64_t) {
      ++drawn;
      return "x";
    });
  EXPECT_GE(drawn, 1);
  EXPECT_LT(drawn, 1000);
}

TEST(Console, WritesPlainLinesWhereThereIsNoTerminal) {
  std::ostringstream out;
  {
    Console console(out, [] { return Terminal{}; });
    console.progress([](int64_t) { return "first"; });
    console.progress([](int64_t) { return "too soon"; });
    console.line("a line");
  }
  EXPECT_EQ(out.str(), "first\na line\n");
}

TEST(Console, CopiesLinesButNoProgressIntoTheLog) {
  const TemporaryFolder folder;
  std::ostringstream out;
  {
    Console console(out, narrow);
    console.line("before");
    console.open_log(folder / "log.txt");
    console.progress([](int64_t) { return "half"; });
    console.line("step {}");
    console.log_only("quiet");
  }
  const std::string log = content(folder / "log.txt");
  EXPECT_THAT(log, HasSubstr("  step {}\n"));
  EXPECT_THAT(log, HasSubstr("  quiet\n"));
  EXPECT_THAT(log, Not(HasSubstr("half")));
  EXPECT_THAT(log, Not(HasSubstr("before")));
  EXPECT_THAT(out.str(), Not(HasSubstr("quiet")));
}

TEST(Console, GoesOnWithoutALogThatCannotBeWritten) {
  std::ostringstream out;
  Console console(out, narrow);
  console.open_log("/proc/no/such/folder/log.txt");
  console.line("still here");
  EXPECT_THAT(out.str(), HasSubstr("no log is written"));
  EXPECT_THAT(out.str(), HasSubstr("still here\n"));
}

}  // namespace
}  // namespace echo
