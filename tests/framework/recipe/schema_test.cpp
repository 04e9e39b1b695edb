#include "framework/src/recipe/schema.h"

#include "tests/framework/recipe/toy.h"

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
  EXPECT_EQ(recall("heads"), json::parse(R"({"type": "integer", "minimum": 1, "maximum": 64,
      "description": "number of heads; must divide the width", "default": 2})"));
}

TEST(RecipeSchema, DescribesAnOpenRange) {
  EXPECT_EQ(recall("ridge"), json::parse(R"({"type": "number", "exclusiveMinimum": 0,
      "description": "added to the diagonal", "default": 0.1})"));
}

TEST(RecipeSchema, DescribesAnOptionalInteger) {
  EXPECT_EQ(recall("rank"), json::parse(R"({"type": ["integer", "null"], "minimum": 1,
      "description": "of the memory; null: width / heads", "default": null})"));
}

TEST(RecipeSchema, DescribesAChoice) {
  EXPECT_EQ(recall("mode"), json::parse(R"({"enum": ["exact", "prefix"],
      "description": "which tokens are read", "default": "exact"})"));
}

TEST(RecipeSchema, DescribesAList) {
  EXPECT_EQ(recall("kernels"),
            json::parse(R"({"type": "array", "items": {"type": "integer", "minimum": 1},
                "description": "taps of the convolutions", "default": [3]})"));
}

TEST(RecipeSchema, DescribesAListOfMaps) {
  const json& then = at("/definitions/task/allOf/0/then");
  const json& train = then["properties"]["segments"]["properties"]["train"];
  EXPECT_EQ(train["items"]["properties"]["length"]["description"], "tokens");
  EXPECT_EQ(train["default"], json::array());
}

TEST(RecipeSchema, DescribesTheRecipesOwnSections) {
  EXPECT_EQ(at("/properties/model/properties/width/type"), "integer");
  EXPECT_EQ(at("/properties/model/properties/norm/properties/kind/enum"),
            json::parse(R"(["rms_norm", "layer_norm"])"));
  EXPECT_EQ(at("/properties/train/properties/precision/default"), "float32");
  EXPECT_EQ(at("/properties/evaluate/properties/tasks/additionalProperties/$ref"),
            "#/definitions/task");
}

TEST(RecipeSchema, RequiresNoSectionOfARecipeThatExtends) {
  EXPECT_EQ(at("/anyOf"), json::parse(R"([{"required": ["extends"]},
                                          {"required": ["model", "task", "train"]}])"));
}

TEST(RecipeSchema, AllowsRepeatedBlocks) {
  EXPECT_EQ(at("/definitions/repeat/required"), json::parse(R"(["repeat", "block"])"));
}

}  // namespace

}  // namespace echo
