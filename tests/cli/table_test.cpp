#include "cli/table.h"

#include <gtest/gtest.h>

namespace echo::cli {
namespace {

Terminal narrow(int64_t width) { return {.utf8 = true, .width = width}; }

Table two_mixers() {
  Table table({"kind", "parameter_bytes", "meaning"});
  table.add({word("ska"), bytes(1'572'864), word("spectral Koopman attention, chunk-parallel")});
  table.add({word("swiglu"), bytes(12), word("gated feed-forward")});
  return table;
}

TEST(Table, AlignsWordsLeftAndNumbersRight) {
  EXPECT_EQ(two_mixers().text({}),
            "kind    parameter bytes  meaning\n"
            "ska             1.5 MiB  spectral Koopman attention, chunk-parallel\n"
            "swiglu         12 bytes  gated feed-forward\n");
}

TEST(Table, CutsTheWidestColumnOfWordsToTheTerminal) {
  EXPECT_EQ(two_mixers().text(narrow(40)),
            "kind    parameter bytes  meaning\n"
            "ska             1.5 MiB  spectral Koopm…\n"
            "swiglu         12 bytes  gated feed-for…\n");
}

TEST(Table, CutsWithDotsWithoutUtf8) {
  const std::string text = two_mixers().text({.width = 40});
  EXPECT_NE(text.find("spectral Koop..\n"), std::string::npos) << text;
}

TEST(Table, PrintsAParagraphPerRowWhereColumnsDoNotFit) {
  EXPECT_EQ(two_mixers().text(narrow(25)),
            "kind             ska\n"
            "parameter bytes  1.5 MiB\n"
            "meaning          spectra…\n"
            "\n"
            "kind             swiglu\n"
            "parameter bytes  12 bytes\n"
            "meaning          gated f…\n");
}

TEST(Table, WritesRawValuesAsJson) {
  EXPECT_EQ(two_mixers().json().dump(),
            R"([{"kind":"ska","parameter_bytes":1572864,"meaning":"spectral Koopman attention, )"
            R"(chunk-parallel"},{"kind":"swiglu","parameter_bytes":12,"meaning":"gated )"
            R"(feed-forward"}])");
}

TEST(Table, ShowsWhatIsNoNumberAsADash) {
  Table table({"name", "loss"});
  table.add({word("a"), number(std::nan(""))});
  table.add({word("b"), number(0.123456)});
  EXPECT_EQ(table.text({}), "name    loss\na          -\nb     0.1235\n");
  EXPECT_EQ(table.json().dump(), R"([{"name":"a","loss":null},{"name":"b","loss":0.123456}])");
}

TEST(Count, SeparatesThousands) {
  EXPECT_EQ(count(0).text, "0");
  EXPECT_EQ(count(999).text, "999");
  EXPECT_EQ(count(1'000).text, "1,000");
  EXPECT_EQ(count(-1'234'567).text, "-1,234,567");
}

}  // namespace
}  // namespace echo::cli
