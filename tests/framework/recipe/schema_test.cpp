#include "framework/src/recipe/schema.h"

#include "tests/framework/recipe/toy.h"

#include <regex>

namespace echo {

namespace {

using json = nlohmann::ordered_json;

const json& schema() {
  static const json made = json_schema(toy::registry());
  return made;
}

const json& at(const std::string& pointer) { return schema().at(json::json_pointer(pointer)); }

// The schema of a mixer's field, from the case of its kind.
json recall(const std::string& field) {
  for (const json& branch : at("/definitions/mixer/allOf")) {
    if (branch["then"]["properties"]["kind"]["const"] == "recall")
      return branch["then"]["properties"].at(field);
  }
  return nullptr;
}

TEST(RecipeSchema, IsDraft7) {
  EXPECT_EQ(at("/$schema"), "http://json-schema.org/draft-07/schema#");
}

TEST(RecipeSchema, ListsTheKindsWithTheirSummaries) {
  EXPECT_EQ(at("/definitions/mixer/properties/kind/anyOf"),
            json::parse(R"([{"const": "plain", "description": "lacks everything"},
                            {"const": "recall", "description": "remembers"}])"));
}

TEST(RecipeSchema, ChecksTheFieldsOfTheChosenKindOnly) {
  const json& first = at("/definitions/mixer/allOf/0");
  EXPECT_EQ(first["if"],
            json::parse(R"({"type": "object", "properties": {"kind": {"const": "plain"}},
                                         "required": ["kind"]})"));
  EXPECT_TRUE(first["then"]["properties"].contains("depth_scale"));
  EXPECT_FALSE(first["then"]["properties"].contains("heads"));
  EXPECT_EQ(first["then"]["additionalProperties"], false);
}

TEST(RecipeSchema, DescribesAnInteger) {
  EXPECT_EQ(recall("heads"),
            json::parse(R"({"type": ["integer", "null"], "minimum": 1, "maximum": 64,
      "description": "number of heads; must divide the width", "default": 2})"));
}

TEST(RecipeSchema, DescribesAnOpenRange) {
  EXPECT_EQ(recall("ridge"), json::parse(R"({"type": ["number", "null"], "exclusiveMinimum": 0,
      "description": "added to the diagonal", "default": 0.1})"));
}

TEST(RecipeSchema, DescribesAnOptionalInteger) {
  EXPECT_EQ(recall("rank"), json::parse(R"({"type": ["integer", "null"], "minimum": 1,
      "description": "of the memory; null: width / heads", "default": null})"));
}

TEST(RecipeSchema, DescribesAChoice) {
  EXPECT_EQ(recall("mode"), json::parse(R"({"enum": ["exact", "prefix", null],
      "description": "which tokens are read", "default": "exact"})"));
}

TEST(RecipeSchema, DescribesAList) {
  EXPECT_EQ(recall("kernels"),
            json::parse(R"({"type": ["array", "null"], "items": {"type": "integer", "minimum": 1},
                "description": "taps of the convolutions", "default": [3]})"));
}

TEST(RecipeSchema, DescribesAListOfMaps) {
  const json& then = at("/definitions/task/allOf/0/then");
  const json& train = then["properties"]["segments"]["properties"]["train"];
  EXPECT_EQ(train["items"]["properties"]["length"]["description"], "tokens");
  EXPECT_EQ(train["default"], json::array());
}

TEST(RecipeSchema, DescribesTheRecipesOwnSections) {
  EXPECT_EQ(at("/properties/model/properties/width/type"), json::parse(R"(["integer", "null"])"));
  EXPECT_EQ(at("/properties/model/properties/norm/properties/kind/enum"),
            json::parse(R"(["rms_norm", "layer_norm", null])"));
  EXPECT_EQ(at("/properties/train/properties/precision/default"), "float32");
  EXPECT_EQ(at("/properties/evaluate/properties/tasks/additionalProperties/$ref"),
            "#/definitions/task");
}

TEST(RecipeSchema, RequiresNoSectionOfARecipeThatExtends) {
  EXPECT_EQ(at("/if"), json::parse(R"({"properties": {"extends": {"type": "string"}},
                                       "required": ["extends"]})"));
  EXPECT_EQ(at("/then"), json::object());
  EXPECT_EQ(at("/else/required"), json::parse(R"(["model", "task", "train"])"));
}

TEST(RecipeSchema, RequiresWidthAndBlocksOfAWholeRecipe) {
  EXPECT_EQ(at("/else/properties/model/required"), json::parse(R"(["width", "blocks"])"));
  EXPECT_EQ(at("/else/properties/model/properties/width"), json::parse(R"({"type": "integer"})"));
}

TEST(RecipeSchema, RequiresStepsOrEpochsOfAWholeRecipe) {
  EXPECT_EQ(at("/else/properties/train/anyOf"),
            json::parse(R"([{"required": ["steps"], "properties": {"steps": {"type": "number"}}},
                            {"required": ["epochs"], "properties": {"epochs": {"type": "number"}}}])"));
}

TEST(RecipeSchema, RequiresKindsOfAWholeRecipe) {
  const json has_kind = json::parse(R"({"required": ["kind"]})");
  EXPECT_EQ(at("/else/properties/task"), has_kind);
  EXPECT_EQ(at("/else/properties/model/properties/mixers/additionalProperties"), has_kind);
  EXPECT_EQ(at("/else/properties/evaluate/properties/tasks/additionalProperties"), has_kind);
}

TEST(RecipeSchema, KnowsTheFieldsOfTheKindThatIsNotWritten) {
  const json& optimizer = at("/else/properties/train/properties/optimizer");
  EXPECT_EQ(optimizer["if"], json::parse(R"({"type": "object", "not": {"required": ["kind"]}})"));
  EXPECT_TRUE(optimizer["then"]["properties"].contains("betas"));
}

TEST(RecipeSchema, AllowsNullForExtends) {
  EXPECT_EQ(at("/properties/extends/type"), json::parse(R"(["string", "null"])"));
}

TEST(RecipeSchema, RefusesNamesThatAreNoFolder) {
  const std::regex name(at("/properties/name/pattern").get<std::string>());
  EXPECT_TRUE(std::regex_match("a b", name));
  for (const char* bad : {"", ".a", "a/b", "a\n"}) EXPECT_FALSE(std::regex_match(bad, name)) << bad;
}

TEST(RecipeSchema, RefusesAnEvaluationTaskThatIsCalledTask) {
  EXPECT_EQ(at("/properties/evaluate/properties/tasks/propertyNames/not/const"), "task");
}

TEST(RecipeSchema, AllowsRepeatedBlocks) {
  EXPECT_EQ(at("/definitions/repeat/required"), json::parse(R"(["repeat", "block"])"));
}

}  // namespace

}  // namespace echo
