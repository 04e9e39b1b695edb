#include "framework/src/recipe/nested.h"

#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/schema.h"
#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

struct GroupOptions {
  std::vector<MixerChoice> mixers;

  void visit(Fields& fields) { fields("mixers", mixers, "that stand beside each other"); }
  void complete(const Place& place) {
    for (size_t n = 0; n < mixers.size(); ++n)
      mixers[n].complete(place, "mixers." + std::to_string(n));
  }
};

class Group final : public toy::ToyMixer {
 public:
  Group(const GroupOptions& options, const Place& place) : ToyMixer({}, place) {
    for (size_t n = 0; n < options.mixers.size(); ++n) {
      const std::string index = std::to_string(n);
      child(index, options.mixers[n].make(place, "mixers." + index));
    }
  }
};

Registry registry() {
  Registry registry = toy::registry();
  registry.add_mixer<Group, GroupOptions>("group", "holds others");
  return registry;
}

Recipe read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return read_recipe_text(text, "a.yaml", "/recipes", overrides, registry());
}

// A recipe whose mixer is a group of these.
std::string group_of(const std::string& mixers) {
  return toy::with("[[memory]]", "[[all]]\n  norm: {eps: 1.e-5}")
      .replace(0, std::string("model:\n  width: 8\n  mixers:\n").size(),
               "model:\n  width: 8\n  mixers:\n    all: {kind: group, mixers: " + mixers + "}\n");
}

std::string mistake(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    read(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

// The template as the resolved recipe shows it, on one line.
std::string shown(const Recipe& recipe) {
  return to_json(write_kind(recipe.model.mixers.at("all"))).dump();
}

nlohmann::ordered_json member(const Recipe& recipe, size_t index) {
  return nlohmann::ordered_json::parse(shown(recipe)).at("mixers").at(index);
}

TEST(NestedMixers, AreReadFromMapsNamesAndKinds) {
  const Recipe recipe = read(group_of("[{kind: recall, heads: 4}, memory, plain]"));
  EXPECT_EQ(member(recipe, 0)["heads"], 4);
  EXPECT_EQ(member(recipe, 1)["kind"], "recall");  // memory: {kind: recall, heads: 2}
  EXPECT_EQ(member(recipe, 1)["heads"], 2);
  EXPECT_EQ(member(recipe, 2)["kind"], "plain");
}

TEST(NestedMixers, AreCompletedForThePlaceOfTheOuterOne) {
  const Recipe recipe = read(group_of("[{kind: recall, heads: 4}, plain]"));
  EXPECT_EQ(member(recipe, 0)["rank"], 2);
  EXPECT_EQ(member(recipe, 1)["depth_scale"], 1);
}

TEST(NestedMixers, PreferTheNameOfAMixerToAKind) {
  std::string text = group_of("[plain]");
  text.replace(text.find("memory:"), 7, "plain:");
  EXPECT_EQ(member(read(text), 0)["kind"], "recall");
}

TEST(NestedMixers, HoldOthersAgain) {
  const Recipe recipe =
      read(group_of("[{kind: group, mixers: [{kind: group, mixers: [memory]}]}]"));
  EXPECT_EQ(member(recipe, 0)["mixers"][0]["mixers"][0]["heads"], 2);
}

TEST(NestedMixers, AreResolvedToTheSameTextAgain) {
  for (const char* mixers :
       {"[]", "[memory, plain, {kind: recall, note: 'a: b', rates: [0.5], limit: 3}]",
        "[{kind: group, mixers: [memory, {kind: group, mixers: [plain]}]}, memory]"}) {
    const std::string once = resolved_yaml(read(group_of(mixers)));
    EXPECT_EQ(resolved_yaml(read(once)), once);
  }
}

TEST(NestedMixers, AreChangedByOverrides) {
  const std::string text = group_of("[memory, {kind: recall, heads: 2}]");
  EXPECT_EQ(member(read(text, {"model.mixers.all.mixers.1.heads=8"}), 1)["heads"], 8);
  EXPECT_EQ(member(read(text, {"model.mixers.memory.heads=8"}), 0)["heads"], 8);
  EXPECT_EQ(member(read(text, {"model.mixers.all.mixers.1.kind=plain"}), 1)["kind"], "plain");
  EXPECT_EQ(member(read(text, {"model.mixers.all.mixers=[plain]"}), 0)["kind"], "plain");
}

TEST(NestedMixers, AreNoLongerReadWhenTheirTemplateIsNull) {
  EXPECT_EQ(mistake(group_of("[memory]"), {"model.mixers.memory=null"}),
            "a.yaml:4:33: model.mixers.all.mixers.0: unknown mixer 'memory'; known mixers: all, "
            "group, plain, recall");
}

TEST(NestedMixers, RejectUnknownFieldWithNearestName) {
  EXPECT_EQ(mistake(group_of("[plain, {kind: recall, haeds: 4}]")),
            "a.yaml:4:55: model.mixers.all.mixers.1.haeds: 'recall' has no such field; did you "
            "mean 'heads'? Its fields: gate, heads, kernels, kind, limit, mode, note, rank, rates, "
            "ridge");
}

TEST(NestedMixers, RejectUnknownKindWithNearestName) {
  EXPECT_EQ(mistake(group_of("[{kind: recal}]")),
            "a.yaml:4:40: model.mixers.all.mixers.0.kind: unknown mixer 'recal'; did you mean "
            "'recall'? Known mixers: group, plain, recall");
}

TEST(NestedMixers, RejectUnknownNameWithNearestName) {
  EXPECT_EQ(mistake(group_of("[memry]")),
            "a.yaml:4:33: model.mixers.all.mixers.0: unknown mixer 'memry'; did you mean 'memory'? "
            "Known mixers: all, group, memory, plain, recall");
}

TEST(NestedMixers, RejectValuesOutOfRange) {
  EXPECT_EQ(mistake(group_of("[{kind: recall, heads: 99}]")),
            "a.yaml:4:55: model.mixers.all.mixers.0.heads: 99 is out of range; allowed: between 1 "
            "and 64");
}

TEST(NestedMixers, RejectValuesThatDoNotFitTheWidthAtTheirPlace) {
  EXPECT_EQ(mistake(group_of("[plain, {kind: recall, heads: 3}]")),
            "a.yaml:4:62: model.mixers.all.mixers.1.heads: 3 does not divide the width (8)");
}

TEST(NestedMixers, RejectDefaultsThatDoNotFitAtThePlaceOfTheMixer) {
  EXPECT_EQ(mistake(group_of("[plain, recall]"), {"model.width=9", "model.mixers.memory=null"}),
            "a.yaml:4:40: model.mixers.all.mixers.1.heads: 2 does not divide the width (9)");
}

TEST(NestedMixers, RejectWhatCannotBeMadeAtItsPlace) {
  EXPECT_EQ(mistake(group_of("[{kind: group, mixers: [{kind: recall, note: unmakable}]}]")),
            "a.yaml:4:77: model.mixers.all.mixers.0.mixers.0.note: this remark cannot be made");
}

TEST(NestedMixers, RejectAMapWithoutAKindAndSayHowToWriteIt) {
  EXPECT_EQ(mistake(group_of("[{recall: {heads: 4}}]")),
            "a.yaml:4:33: model.mixers.all.mixers.0: the kind is missing; write {kind: recall, "
            "...}; known mixers: group, plain, recall");
}

TEST(NestedMixers, RejectWhatIsNoMixer) {
  EXPECT_EQ(mistake(group_of("[null]")),
            "a.yaml:4:33: model.mixers.all.mixers.0: expected a map with a kind, as in {kind: "
            "group}, found null");
  EXPECT_EQ(mistake(group_of("memory")),
            "a.yaml:4:32: model.mixers.all.mixers: expected a list of mixers, found 'memory'");
}

TEST(NestedMixers, RejectAMixerInsideOfItself) {
  EXPECT_EQ(mistake(group_of("[plain, {kind: group, mixers: [all]}]")),
            "a.yaml:4:63: model.mixers.all.mixers.1.mixers.0: a mixer inside of itself: all -> "
            "all");
}

// Every template holds the next one twice.
TEST(NestedMixers, RejectMoreThanAnyModelNeeds) {
  std::string text = "model:\n  width: 8\n  blocks: [[g0]]\n  mixers:\n";
  for (int i = 0; i < 20; ++i) {
    const std::string next = "g" + std::to_string(i + 1);
    text += "    g" + std::to_string(i) + ": {kind: group, mixers: [" + next + ", " + next + "]}\n";
  }
  text += "    g20: {kind: plain}\ntask: {kind: copy}\ntrain: {steps: 10}\n";
  EXPECT_NE(mistake(text).find("more than 16384 mixers stand inside of others"), std::string::npos);
}

TEST(NestedMixers, RejectNestsThatCouldNotBeReadAgain) {
  std::string text = "model:\n  width: 8\n  blocks: [[g0]]\n  mixers:\n";
  for (int i = 0; i < 30; ++i) {
    text +=
        "    g" + std::to_string(i) + ": {kind: group, mixers: [g" + std::to_string(i + 1) + "]}\n";
  }
  text += "    g30: {kind: plain}\ntask: {kind: copy}\ntrain: {steps: 10}\n";
  EXPECT_EQ(mistake(text),
            "a.yaml:29:33: model.mixers.g24.mixers.0: more than 24 mixers inside of each other");
}

TEST(NestedMixers, AreCopiedWithTheOptionsThatHoldThem) {
  OptionsOf<GroupOptions> options;
  const Registry kinds = registry();
  const MixerKind& kind = *kinds.mixers.find("recall");
  options.value.mixers.push_back({kind, kind.options()});
  const std::unique_ptr<Options> copy = options.clone();
  auto& original = static_cast<OptionsOf<toy::RecallOptions>&>(*options.value.mixers[0].options);
  original.value.heads = 8;
  EXPECT_EQ(to_json(write_kind("group", *copy))["mixers"][0]["heads"], 2);
}

TEST(NestedMixers, AreFoundInOptionsAtEveryDepth) {
  const Recipe recipe = read(group_of("[memory, {kind: group, mixers: [plain]}]"));
  std::vector<std::string> kinds;
  for (const MixerChoice& mixer : nested_mixers(*recipe.model.mixers.at("all").options))
    kinds.push_back(mixer.kind.name);
  EXPECT_EQ(kinds, (std::vector<std::string>{"recall", "group", "plain"}));
}

TEST(NestedMixers, AreDescribedAsAList) {
  const Registry kinds = registry();
  const std::vector<FieldDescription> fields = describe(*kinds.mixers.find("group"));
  ASSERT_EQ(fields.size(), 1u);
  EXPECT_EQ(fields[0].type, "list of mixers");
  EXPECT_EQ(fields[0].value, nlohmann::ordered_json::array());
}

TEST(NestedMixers, ReferToTheDefinitionOfMixersInTheSchema) {
  const nlohmann::ordered_json schema = json_schema(registry());
  const auto& group = schema["definitions"]["mixer"]["allOf"][0]["then"]["properties"];
  EXPECT_EQ(group["kind"]["const"], "group");
  EXPECT_EQ(group["mixers"]["items"], nlohmann::ordered_json::parse(R"({"anyOf": [
      {"type": "string", "description": "a name of model.mixers, or a kind"},
      {"allOf": [{"$ref": "#/definitions/mixer"}, {"type": "object", "required": ["kind"]}]}]})"));
}

}  // namespace

}  // namespace echo
