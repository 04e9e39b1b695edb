#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::kRecipe;
using toy::mistake;
using toy::with;

TEST(RecipeYaml, RejectsEmptyText) {
  EXPECT_EQ(mistake(""), "a.yaml: is empty; a recipe has at least model, task and train");
}

TEST(RecipeYaml, RejectsTextOfComments) {
  EXPECT_EQ(mistake("# nothing\n"),
            "a.yaml: is empty; a recipe has at least model, task and train");
}

TEST(RecipeYaml, RejectsBareWords) {
  EXPECT_EQ(mistake("just words"),
            "a.yaml:1:1: expected a recipe, which is a map of sections (model, task, train), found "
            "'just words'");
}

TEST(RecipeYaml, RejectsList) {
  EXPECT_EQ(mistake("- a\n- b\n"),
            "a.yaml:1:1: expected a recipe, which is a map of sections (model, task, train), found "
            "a list");
}

TEST(RecipeYaml, RejectsSecondDocument) {
  EXPECT_EQ(mistake("model:\n  width: 8\n  mixers:\n    memory: {kind: recall, heads: 2}\n  "
                    "blocks: [[memory]]\ntask: {kind: copy}\ntrain: {steps: 10}\n---\na: 1\n"),
            "a.yaml:8:1: a second document begins here; write one per file, without '---' between");
}

TEST(RecipeYaml, RejectsDuplicateKeyThatIsQuoted) {
  EXPECT_EQ(
      mistake("\"é\": {b: 1, b: 2}\n"),
      "a.yaml:1:13: the key 'b' is written twice in this map; the first is in line 1; remove one");
}

TEST(RecipeYaml, RejectsTabBelowAKey) {
  EXPECT_EQ(mistake("task:\n\tkind: copy\n"),
            "a.yaml:2:1: not valid YAML: a tab in the indentation; write spaces");
}

TEST(RecipeYaml, RejectsDeeperIndentationAfterAValue) {
  EXPECT_EQ(mistake("model:\n  width: 8\n    depth: 2\n"),
            "a.yaml:3:10: not valid YAML: a ':' where no key can stand; write one key per line, "
            "indent the keys of a map alike, and put quotes around text that holds ': '");
}

TEST(RecipeYaml, RejectsTwoKeysOnOneLine) {
  EXPECT_EQ(mistake("model: width: 8\n"),
            "a.yaml:1:13: not valid YAML: a ':' where no key can stand; write one key per line, "
            "indent the keys of a map alike, and put quotes around text that holds ': '");
}

TEST(RecipeYaml, RejectsUnclosedBracketBeforeAListItem) {
  EXPECT_EQ(mistake("model:\n  blocks:\n    - [a, b\n    - [c]\n"),
            "a.yaml:4:7: not valid YAML: the bracket that opens in line 3, column 7 is not closed, "
            "or a ',' is missing");
}

TEST(RecipeYaml, RejectsValueThatBeginsWithASpecialCharacter) {
  EXPECT_EQ(mistake("name: @home\n"),
            "a.yaml:1:7: not valid YAML: a value cannot begin with this character; put quotes "
            "around the text");
}

TEST(RecipeYaml, RejectsUnknownEscape) {
  EXPECT_EQ(mistake("name: \"\\q\"\n"), "a.yaml:1:10: not valid YAML: unknown escape character: q");
}

TEST(RecipeYaml, RejectsTag) {
  EXPECT_EQ(mistake("seed: !!int 3\n"),
            "a.yaml:1:7: tags such as '!!int' are not supported; remove it");
}

TEST(RecipeYaml, RejectsLocalTag) {
  EXPECT_EQ(mistake("seed: !mine 3\n"),
            "a.yaml:1:7: tags such as '!mine' are not supported; remove it");
}

TEST(RecipeYaml, RejectsMergeKey) {
  EXPECT_EQ(mistake("<<: {a: 1}\n"),
            "a.yaml:1:1: '<<' (a merge key) is not supported; a recipe takes over another one with "
            "'extends: other.yaml'");
}

TEST(RecipeYaml, RejectsListAsKey) {
  EXPECT_EQ(mistake("[a, b]: 3\n"), "a.yaml:1:1: a key must be a word, not a list or a map");
}

TEST(RecipeYaml, RejectsMissingKeyBeforeAColon) {
  EXPECT_EQ(mistake(": 3\n"), "a.yaml:1:1: a key is missing before this ':', or needs quotes");
}

TEST(RecipeYaml, RejectsUnknownAlias) {
  EXPECT_EQ(mistake("a: *b\n"),
            "a.yaml:1:4: not valid YAML: an alias without an anchor of that name");
}

TEST(RecipeYaml, RejectsAliasInsideOfItsAnchor) {
  EXPECT_EQ(mistake("a: &b [*b]\n"), "a.yaml:1:8: an alias inside of what it stands for");
}

TEST(RecipeYaml, RejectsItemWhereNoListCanBegin) {
  EXPECT_EQ(mistake("a: - b\n"), "a.yaml:1:4: not valid YAML: a '- ' where no list can begin");
}

TEST(RecipeYaml, RejectsDuplicateKey) {
  EXPECT_EQ(mistake(with("width: 8", "width: 8\n  width: 9")),
            "a.yaml:3:3: the key 'width' is written twice in this map; the first is in line 2; "
            "remove one");
}

TEST(RecipeYaml, RejectsTabInTheIndentation) {
  EXPECT_EQ(mistake(with("  width", "\twidth")),
            "a.yaml:2:1: not valid YAML: a tab in the indentation; write spaces");
}

TEST(RecipeYaml, RejectsUnevenIndentation) {
  EXPECT_EQ(mistake(with("  mixers", " mixers")),
            "a.yaml:3:2: not valid YAML: this line is indented unlike the lines above it");
}

TEST(RecipeYaml, RejectsMissingSpaceAfterAColon) {
  EXPECT_EQ(mistake(with("width: 8", "width:8")),
            "a.yaml:2:8: not valid YAML: a space is missing after this ':'");
}

TEST(RecipeYaml, RejectsMissingColon) {
  EXPECT_EQ(mistake(with("model:", "model")), "a.yaml:1:6: not valid YAML: a ':' is missing here");
}

TEST(RecipeYaml, RejectsKeyAndValueWithoutColon) {
  EXPECT_EQ(mistake("seed 0\n" + std::string(kRecipe)),
            "a.yaml:1:1: not valid YAML: this line has no ':'; write seed: 0");
}

TEST(RecipeYaml, RejectsKeyAndValueWithoutColonAtTheEnd) {
  EXPECT_EQ(mistake(std::string(kRecipe) + "seed 0\n"),
            "a.yaml:8:1: seed: a ':' is missing; write seed: 0");
}

TEST(RecipeYaml, RejectsEqualsSignForAColon) {
  EXPECT_EQ(mistake(with("width: 8", "width = 8  # wide\n  # mixers")),
            "a.yaml:2:3: not valid YAML: this line has no ':'; write width: 8");
}

TEST(RecipeYaml, RejectsUnclosedBracket) {
  EXPECT_EQ(mistake(with("heads: 2}", "heads: 2")),
            "a.yaml:5:9: not valid YAML: the bracket that opens in line 4, column 13 is not "
            "closed, or a ',' is missing");
}

TEST(RecipeYaml, RejectsMissingComma) {
  EXPECT_EQ(mistake(with("recall, heads", "recall heads")),
            "a.yaml:4:32: not valid YAML: the bracket that opens in line 4, column 13 is not "
            "closed, or a ',' is missing");
}

TEST(RecipeYaml, RejectsSurplusBracket) {
  EXPECT_EQ(mistake(with("heads: 2}", "heads: 2}}")),
            "a.yaml:4:37: not valid YAML: a closing bracket without an opening one");
}

TEST(RecipeYaml, RejectsTextAfterAMap) {
  EXPECT_EQ(mistake(with("{kind: copy}", "{kind: copy} now")),
            "a.yaml:6:20: not valid YAML: this does not belong to the value before it; put it on a "
            "line of its own, or put quotes around the whole text");
}

TEST(RecipeYaml, RejectsUnclosedQuote) {
  EXPECT_EQ(mistake(with("task:", "name: 'a\ntask:")),
            "a.yaml:6:7: not valid YAML: the quote that opens here is never closed");
}

TEST(RecipeYaml, RejectsUnclosedDoubleQuote) {
  EXPECT_EQ(mistake(with("train: {steps: 10}", "train: {steps: 10}\nname: \"a")),
            "a.yaml:8:7: not valid YAML: the quote that opens here is never closed");
}

TEST(RecipeYaml, CountsCharactersNotBytes) {
  EXPECT_EQ(mistake("é: {ü: 1, ü: 2}\n").substr(0, 12), "a.yaml:1:11:");
}

TEST(RecipeYaml, SkipsAByteOrderMark) {
  EXPECT_EQ(mistake(std::string("\xEF\xBB\xBF") + kRecipe), "");
}

TEST(RecipeYaml, ReadsWindowsLineEnds) {
  std::string text;
  for (const char letter : std::string(kRecipe))
    text += letter == '\n' ? "\r\n" : std::string(1, letter);
  EXPECT_EQ(mistake(text), "");
}

TEST(RecipeYaml, RejectsUtf16) {
  EXPECT_EQ(mistake(std::string("\xFF\xFEm\0", 4)), "a.yaml: is UTF-16 text; save it as UTF-8");
}

TEST(RecipeYaml, RejectsTextThatIsNotUtf8) {
  EXPECT_EQ(mistake(std::string(kRecipe) + "name: caf\xE9\n"),
            "a.yaml:8:10: not UTF-8 text; save the file as UTF-8");
}

TEST(RecipeYaml, RejectsBinary) {
  EXPECT_EQ(mistake(std::string("\x7F"
                                "ELF\2\1\1\0",
                                8)),
            "a.yaml:1:1: a control character, so this is no text file; a recipe is YAML text");
}

TEST(RecipeYaml, RejectsZeroByte) {
  EXPECT_EQ(mistake(std::string("a: b\0", 5)),
            "a.yaml:1:5: a control character, so this is no text file; a recipe is YAML text");
}

TEST(RecipeYaml, RejectsDeepNesting) {
  EXPECT_EQ(mistake("a: " + std::string(1000, '[')), "a.yaml:1:36: nested more than 64 deep");
}

TEST(RecipeYaml, RejectsHugeFile) {
  EXPECT_EQ(mistake(std::string((1 << 20) + 1, '#')),
            "a.yaml: larger than 1 MiB, so this is no recipe; a recipe is a short YAML text");
}

TEST(RecipeYaml, RejectsAliasBomb) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string below = "*a" + std::to_string(i - 1) + ", ";
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += below;
    text += "]\n";
  }
  EXPECT_EQ(mistake(text),
            "a.yaml:5:5: too large once its aliases are copied out (more than 16 MiB)");
}

TEST(RecipeYaml, RejectsHugeListWithoutAliases) {
  std::string text = "a: [";
  for (int i = 0; i < 500000; ++i) text += "1,";
  EXPECT_EQ(mistake(text + "]\n"),
            "a.yaml:1:516225: too many values up to here (more than 16 MiB)");
}

TEST(RecipeYaml, CopiesAliases) {
  EXPECT_EQ(mistake(with("heads: 2}", "heads: 2}\n    again: &x {kind: plain}\n    more: *x")), "");
}

TEST(RecipeYaml, ReadsLongLinesInTheTimeOfTheirLength) {
  std::string text = "name: [";
  for (int i = 0; i < 100000; ++i) text += "'', ";
  EXPECT_EQ(mistake(text + "]\n" + kRecipe), "a.yaml:1:7: name: expected text, found a list");
}

}  // namespace

}  // namespace echo
