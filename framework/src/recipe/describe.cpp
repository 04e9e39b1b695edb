#include "framework/src/recipe/describe.h"

#include "framework/src/recipe/values.h"
#include "framework/src/text/near.h"

#include <type_traits>

namespace echo {

namespace {

// What the value of a field is called.
struct TypeName {
  bool path = false;

  std::string operator()(const int64_t*) const { return "integer"; }
  std::string operator()(const double*) const { return "number"; }
  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const std::string*) const { return path ? "path" : "text"; }
  std::string operator()(const std::optional<int64_t>*) const { return "integer or null"; }
  std::string operator()(const std::optional<double>*) const { return "number or null"; }
  std::string operator()(const std::vector<int64_t>*) const { return "list of integers"; }
  std::string operator()(const std::vector<double>*) const { return "list of numbers"; }
  std::string operator()(const std::vector<std::string>*) const {
    return path ? "list of paths" : "list of texts";
  }
  std::string operator()(const Choice& choice) const { return "one of " + join(choice.words); }
  std::string operator()(const Section&) const { return "map"; }
  std::string operator()(const SectionList&) const { return "list of maps"; }
  std::string operator()(const std::vector<MixerChoice>*) const { return "list of mixers"; }
};

void add(std::vector<FieldDescription>& found, const std::vector<Field>& fields,
         const std::string& prefix) {
  for (const Field& field : fields) {
    const std::string name = prefix + field.name;
    if (const auto* section = std::get_if<Section>(&field.target)) {
      add(found, fields_of(*section), name + ".");
      continue;
    }
    found.push_back({name, std::visit(TypeName{field.path}, field.target),
                     to_json(*write_fields({field}).find(field.name)), plain_text(field.range),
                     field.help});
    if (const auto* list = std::get_if<SectionList>(&field.target)) {
      list->resize(0);
      list->resize(1);
      FieldCollector collector;
      list->visit(0, collector);
      add(found, collector.fields, name + "[].");
      list->resize(0);
    }
  }
}

}  // namespace

std::vector<FieldDescription> describe(const std::vector<Field>& fields) {
  std::vector<FieldDescription> found;
  add(found, fields, "");
  return found;
}

nlohmann::ordered_json to_json(const Node& node) {
  using json = nlohmann::ordered_json;
  if (node.is_null()) return nullptr;
  if (node.is_scalar()) {
    if (node.quoted) return node.text;
    const json value = json::parse(node.text, nullptr, /*allow_exceptions=*/false);
    return value.is_discarded() ? json(node.text) : value;  // a number, true or false; else a word
  }
  json value = node.is_list() ? json::array() : json::object();
  for (const Node& item : node.items) value.push_back(to_json(item));
  for (const Node::Entry& entry : node.entries) value[entry.key] = to_json(entry.value);
  return value;
}

}  // namespace echo
