#include "framework/src/recipe/schema.h"

#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/recipe.h"
#include "framework/src/recipe/values.h"

#include <algorithm>
#include <cmath>

namespace echo {

namespace {

using json = nlohmann::ordered_json;

json object_schema(const std::vector<Field>& fields);

json named(const std::string& definition) { return {{"$ref", "#/definitions/" + definition}}; }

// 1, not 1.0, where it is whole.
json limit(double value) {
  if (std::trunc(value) == value && std::abs(value) < 9e15) return static_cast<int64_t>(value);
  return value;
}

void add_range(json& schema, const Range& range) {
  if (std::isfinite(range.low))
    schema[range.low_open ? "exclusiveMinimum" : "minimum"] = limit(range.low);
  if (std::isfinite(range.high))
    schema[range.high_open ? "exclusiveMaximum" : "maximum"] = limit(range.high);
}

json typed(const json& type, const Range& range) {
  json schema{{"type", type}};
  add_range(schema, range);
  return schema;
}

// The schema of a field's value, by the type of its target.
struct ValueSchema {
  const Range& range;

  json operator()(const int64_t*) const { return typed("integer", range); }
  json operator()(const double*) const { return typed("number", range); }
  json operator()(const bool*) const { return {{"type", "boolean"}}; }
  json operator()(const std::string*) const {
    return {{"type", {"string", "number", "boolean"}}};  // `name: 2024` is text too
  }
  json operator()(const std::optional<int64_t>*) const { return typed({"integer", "null"}, range); }
  json operator()(const std::optional<double>*) const { return typed({"number", "null"}, range); }
  json operator()(const std::vector<int64_t>*) const { return list(typed("integer", range)); }
  json operator()(const std::vector<double>*) const {
    const bool endless = std::isinf(range.high);  // null: infinity
    return list(typed(endless ? json{"number", "null"} : json("number"), range));
  }
  json operator()(const std::vector<std::string>*) const { return list({{"type", "string"}}); }
  json operator()(const Choice& choice) const { return {{"enum", choice.words}}; }
  json operator()(const Section& section) const { return object_schema(fields_of(section)); }
  json operator()(const SectionList& sections) const {
    sections.resize(0);
    sections.resize(1);
    FieldCollector collector;
    sections.visit(0, collector);
    const json schema = list(object_schema(collector.fields));
    sections.resize(0);
    return schema;
  }
  json operator()(const std::vector<MixerChoice>*) const {
    const json name{{"type", "string"}, {"description", "a name of model.mixers, or a kind"}};
    const json map{{"type", "object"}, {"required", {"kind"}}};
    const json mixer{{"allOf", {named("mixer"), map}}};
    return list({{"anyOf", {name, mixer}}});
  }

  static json list(const json& items) { return {{"type", "array"}, {"items", items}}; }
};

// Null is read as if the key had not been written.
json nullable(json schema) {
  if (schema.contains("enum")) {
    schema["enum"].push_back(nullptr);
    return schema;
  }
  json& type = schema["type"];
  if (!type.is_array()) type = json::array({type});
  if (std::find(type.begin(), type.end(), json("null")) == type.end()) type.push_back("null");
  return schema;
}

json object_schema(const std::vector<Field>& fields) {
  json properties = json::object();
  for (const Field& field : fields) {
    json& schema = properties[field.name] =
        nullable(std::visit(ValueSchema{field.range}, field.target));
    schema["description"] = field.help;
    if (!std::holds_alternative<Section>(field.target))
      schema["default"] = to_json(*write_fields({field}).find(field.name));
  }
  return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
}

template <class T>
json object_schema_of(T section) {
  return object_schema(fields_of(section));
}

// The fields of a kind are checked once `kind` says which it is. fallback: the kind of a map that
// names none; empty: it must.
template <class Kinds>
json kind_schema(const Kinds& kinds, const std::string& sort, const std::string& fallback = "") {
  json names = json::array(), choices = json::array(), cases = json::array();
  for (const auto& [name, kind] : kinds.all()) {
    const bool is_strangers = name.find('/') != std::string::npos;
    const std::string from = is_strangers ? " (from " + kind.origin + ")" : "";
    choices.push_back({{"const", name}, {"description", kind.summary + from}});
    const std::unique_ptr<Options> options = kind.options();
    json fields = object_schema(fields_of(*options));
    fields["properties"]["kind"] = json{{"const", name}};
    const json chosen{
        {"type", "object"}, {"properties", {{"kind", {{"const", name}}}}}, {"required", {"kind"}}};
    cases.push_back({{"if", chosen}, {"then", fields}});
  }
  if (!fallback.empty()) choices.push_back({{"type", "null"}, {"description", fallback}});
  json schema{{"type", {"object", "null"}},
              {"description", "a " + sort + ": its kind, and the fields of that kind"}};
  schema["properties"]["kind"] = {{"description", "which " + sort}, {"anyOf", choices}};
  schema["allOf"] = cases;
  return schema;
}

// A map from names of the user's to one definition.
json map_of(const std::string& definition, const std::string& help) {
  return {{"type", {"object", "null"}},
          {"description", help},
          {"propertyNames", {{"pattern", "^[A-Za-z0-9_-]+$"}}},
          {"additionalProperties", named(definition)}};
}

json branch_schema() {
  json branch = object_schema_of(BranchRecipe());
  branch["properties"]["mixer"] = {{"type", "string"}, {"description", "a name of model.mixers"}};
  branch["required"] = {"mixer"};
  const json name{{"type", "string"}, {"description", "a name of model.mixers"}};
  return {{"anyOf", {name, branch}}};
}

json repeat_schema() {
  json properties;
  properties["repeat"] = {{"type", "integer"}, {"minimum", 1}, {"description", "how often"}};
  properties["block"] = {{"description", "one block, or a list of blocks"},
                         {"anyOf", {named("block"), named("blocks")}}};
  return {{"type", "object"},
          {"properties", properties},
          {"required", {"repeat", "block"}},
          {"additionalProperties", false}};
}

json model_schema() {
  json model = object_schema_of(ModelRecipe());
  for (const char* name : {"width", "vocabulary"}) model["properties"][name].erase("default");
  model["properties"]["mixers"] =
      map_of("mixer", "templates of mixers, by a name of yours; every use has its own parameters");
  model["properties"]["blocks"] = named("blocks");
  return model;
}

json train_schema() {
  json train = object_schema_of(TrainRecipe());
  train["properties"]["optimizer"] = named("optimizer");
  train["properties"]["schedule"] = named("schedule");
  return train;
}

json evaluate_schema() {
  json evaluate = object_schema_of(EvaluateRecipe());
  evaluate["properties"]["tasks"] =
      map_of("task", "what is scored beside the recipe's own task, by a name of yours");
  evaluate["properties"]["tasks"]["propertyNames"]["not"] = {{"const", "task"}};
  return nullable(evaluate);
}

// The fields of the kind that a map without one has.
template <class Kinds>
json fallback_schema(const Kinds& kinds, const std::string& name) {
  const auto* kind = kinds.find(name);
  if (!kind) return json::object();
  const std::unique_ptr<Options> options = kind->options();
  const json unnamed{{"type", "object"}, {"not", {{"required", {"kind"}}}}};
  return {{"if", unnamed}, {"then", object_schema(fields_of(*options))}};
}

// What a recipe must hold that extends no other one.
json whole_schema(const Registry& registry) {
  const json has_kind{{"required", {"kind"}}};
  const json named_kinds{{"additionalProperties", has_kind}};
  json model{{"required", {"width", "blocks"}}};
  model["properties"]["width"] = {{"type", "integer"}};
  model["properties"]["mixers"] = named_kinds;
  json train;
  for (const char* length : {"steps", "epochs"}) {
    json given{{"required", {length}}};
    given["properties"][length] = {{"type", "number"}};
    train["anyOf"].push_back(given);
  }
  train["properties"]["optimizer"] = fallback_schema(registry.optimizers, "adamw");
  train["properties"]["schedule"] = fallback_schema(registry.schedules, "cosine");
  json schema{{"required", {"model", "task", "train"}}};
  schema["properties"]["model"] = model;
  schema["properties"]["task"] = has_kind;
  schema["properties"]["train"] = train;
  schema["properties"]["evaluate"]["properties"]["tasks"] = named_kinds;
  return schema;
}

}  // namespace

nlohmann::ordered_json json_schema(const Registry& registry) {
  json schema = object_schema_of(Recipe());
  schema["properties"]["name"].erase("default");
  schema["properties"]["name"]["pattern"] = "^[^./\\x00-\\x1f\\x7f][^/\\x00-\\x1f\\x7f]*$";
  schema["properties"]["name"]["maxLength"] = 100;
  schema["properties"]["extends"] = {{"type", {"string", "null"}},
                                     {"minLength", 1},
                                     {"description", "a recipe that this one changes"}};
  schema["properties"]["model"] = model_schema();
  schema["properties"]["task"] = {{"allOf", {named("task"), {{"type", "object"}}}}};
  schema["properties"]["train"] = train_schema();
  schema["properties"]["evaluate"] = evaluate_schema();
  schema["if"] = {{"properties", {{"extends", {{"type", "string"}}}}}, {"required", {"extends"}}};
  schema["then"] = json::object();
  schema["else"] = whole_schema(registry);

  json definitions;
  definitions["mixer"] = kind_schema(registry.mixers, "mixer");
  definitions["task"] = kind_schema(registry.tasks, "task");
  definitions["optimizer"] = kind_schema(registry.optimizers, "optimizer", "adamw");
  definitions["schedule"] = kind_schema(registry.schedules, "schedule", "cosine");
  definitions["branch"] = branch_schema();
  definitions["block"] = {
      {"type", "array"},
      {"description", "residual branches: x += scale mixer(norm(x)), one after the other"},
      {"minItems", 1},
      {"items", named("branch")}};
  definitions["repeat"] = repeat_schema();
  definitions["blocks"] = {{"type", "array"},
                           {"description", "bottom to top"},
                           {"minItems", 1},
                           {"items", {{"anyOf", {named("block"), named("repeat")}}}}};
  schema["definitions"] = definitions;

  json result{{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "Echo recipe"}};
  result.update(schema);
  return result;
}

}  // namespace echo
