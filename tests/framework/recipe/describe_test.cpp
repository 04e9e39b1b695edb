#include "framework/src/recipe/describe.h"

#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

std::string line(const FieldDescription& field) {
  return field.name + " | " + field.type + " | " + field.value.dump() + " | " + field.range +
         " | " + field.help;
}

std::vector<std::string> lines(const std::vector<FieldDescription>& fields) {
  std::vector<std::string> text;
  for (const FieldDescription& field : fields) text.push_back(line(field));
  return text;
}

TEST(DescribeFields, SaysTypeDefaultRangeAndHelp) {
  EXPECT_EQ(lines(describe(*toy::registry().mixers.find("recall"))),
            (std::vector<std::string>{
                "heads | integer | 2 | between 1 and 64 | number of heads; must divide the width",
                "rank | integer or null | null | at least 1 | of the memory; null: width / heads",
                "ridge | number | 0.1 | above 0 | added to the diagonal",
                "gate | true or false | false |  | whether reads are gated",
                "note | text | \"plain\" |  | a remark",
                "kernels | list of integers | [3] | at least 1 | taps of the convolutions",
                "rates | list of numbers | [] | between 0 and 1 | of forgetting",
                "limit | number or null | null |  | largest value; null: none",
                "mode | one of exact, prefix | \"exact\" |  | which tokens are read"}));
}

TEST(DescribeFields, NamesFieldsInsideOfSections) {
  const std::vector<std::string> all = lines(describe(*toy::registry().tasks.find("copy")));
  const std::vector<std::string> last(all.end() - 5, all.end());
  EXPECT_EQ(last, (std::vector<std::string>{
                      "text | path | \"\" |  | a text file",
                      "more | list of paths | [] |  | more text files",
                      "segments.train | list of maps | [] |  | of the training set",
                      "segments.train[].length | integer | 8 | at least 1 | tokens",
                      "segments.train[].samples | integer | 0 | at least 0 | number of samples"}));
}

TEST(DescribeFields, LeavesOutLimitsThatOnlyKeepAbsurdSizesAway) {
  ModelRecipe model;
  EXPECT_EQ(lines(describe(fields_of(model)))[0],
            "width | integer | 0 | at least 1 | of the vector that runs through the model");
}

}  // namespace

}  // namespace echo
