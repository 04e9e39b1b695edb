#include "framework/src/files/sha256.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// Plugins are compiled against the public headers: when one of them changes in more than comments,
// ECHO_ABI must grow, or a plugin of the older headers would be loaded. public_headers.txt holds
// ECHO_ABI and a hash of each header as they were when the number was last raised.
namespace echo {
namespace {

namespace fs = std::filesystem;

// Without comments and white space; the contents of strings stay.
std::string without_comments(const std::string& text) {
  std::string code;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      i = std::min(text.find("*/", i + 2), text.size() - 2) + 1;
    } else if (text[i] == '"' || text[i] == '\'') {
      const char quote = text[i];
      code += text[i++];
      for (; i < text.size() && text[i] != quote; ++i) {
        code += text[i];
        if (text[i] == '\\' && i + 1 < text.size()) code += text[++i];
      }
      code += quote;
    } else if (!std::isspace(static_cast<unsigned char>(text[i]))) {
      code += text[i];
    }
  }
  return code;
}

struct Headers {
  std::string abi;
  std::map<std::string, std::string> hashes;  // by file name
};

std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

Headers present(const fs::path& folder) {
  Headers headers;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string text = text_of(entry.path());
    headers.hashes[entry.path().filename()] = sha256(without_comments(text)).substr(0, 16);
    const std::string mark = "#define ECHO_ABI ";
    const size_t at = text.find(mark);
    if (at != std::string::npos)
      headers.abi = text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
  }
  return headers;
}

std::string written(const Headers& headers) {
  std::string text = "ECHO_ABI " + headers.abi + "\n";
  for (const auto& [name, hash] : headers.hashes) text += name + " " + hash + "\n";
  return text;
}

Headers recorded(const std::string& text) {
  Headers headers;
  std::istringstream stream(text);
  for (std::string name, value; stream >> name >> value;)
    (name == "ECHO_ABI" ? headers.abi : headers.hashes[name]) = value;
  return headers;
}

// What a person has to do; empty when nothing.
std::string advice(const Headers& then, const Headers& now) {
  if (now.hashes == then.hashes && now.abi == then.abi) return "";
  std::string changed;
  for (const auto& [name, hash] : now.hashes) {
    if (!then.hashes.count(name) || then.hashes.at(name) != hash) changed += " " + name;
  }
  for (const auto& [name, hash] : then.hashes) {
    if (!now.hashes.count(name)) changed += " " + name + " (gone)";
  }
  if (now.abi == then.abi) {
    return "public headers changed in more than comments:" + changed +
           ". Raise ECHO_ABI in framework/include/echo/plugin.h by one, so that plugins of the "
           "older headers are refused; then run this test again";
  }
  return "ECHO_ABI was raised: write this to tests/structure/public_headers.txt\n" + written(now);
}

TEST(PublicHeaders, ChangeOnlyTogetherWithTheNumberOfTheInterface) {
  const fs::path root = ECHO_SOURCE_DIR;
  const std::string what = advice(recorded(text_of(root / "tests/structure/public_headers.txt")),
                                  present(root / "framework/include/echo"));
  EXPECT_TRUE(what.empty()) << what;
}

TEST(PublicHeaders, MayChangeTheirComments) {
  EXPECT_EQ(without_comments("int a;  // one\n/* two\n */ int  b;"), "inta;intb;");
  EXPECT_EQ(without_comments("char c = '\"'; // \"\nint d;"), "charc='\"';intd;");
  EXPECT_EQ(without_comments("f(\"// no \\\" comment\");"), "f(\"// no \\\" comment\");");
}

TEST(PublicHeaders, ThatChangedNeedAnotherNumber) {
  const Headers then{"2", {{"a.h", "1"}, {"b.h", "1"}}};
  EXPECT_THAT(advice(then, {"2", {{"a.h", "2"}, {"b.h", "1"}}}),
              ::testing::AllOf(::testing::HasSubstr("more than comments: a.h. Raise ECHO_ABI"),
                               ::testing::HasSubstr("plugin.h by one")));
  EXPECT_THAT(advice(then, {"2", {{"b.h", "1"}}}), ::testing::HasSubstr(" a.h (gone)"));
}

TEST(PublicHeaders, AreRecordedAnewWithTheNewNumber) {
  EXPECT_THAT(advice({"2", {{"a.h", "1"}}}, {"3", {{"a.h", "2"}}}),
              ::testing::HasSubstr("public_headers.txt\nECHO_ABI 3\na.h 2\n"));
}

}  // namespace
}  // namespace echo
