#include "cli/kind_list.h"

#include "framework/src/recipe/nested.h"
#include "framework/src/text/terminal.h"

#include <sstream>
#include <unistd.h>

namespace echo::cli {

namespace {

std::string default_text(const FieldDescription& field) {
  const bool word = field.value.is_string() && !field.value.get<std::string>().empty();
  return word ? field.value.get<std::string>() : field.value.dump();
}

bool fits(const std::string& text, int64_t width) {
  if (width == 0) return true;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (columns(line) > width) return false;
  }
  return true;
}

}  // namespace

KindChoice choose_mixer(const Registry& registry, const std::string& kind,
                        const std::vector<std::string>& set, const Place& place) {
  Node fields;
  fields.type = Node::Type::map;
  fields.where = {"mixers " + kind, 0, 0};
  apply_overrides(fields, set);
  NestedMixers nested(registry.mixers);
  return complete(registry.mixers,
                  read_kind(registry.mixers, fields, "mixer", "mixer", nested, kind), place);
}

Table field_table(const std::vector<FieldDescription>& fields) {
  Table table({"field", "type", "default", "range", "help"});
  for (const FieldDescription& field : fields) {
    table.add({word(field.name),
               word(field.type),
               {field.value, default_text(field)},
               field.range.empty() ? nothing() : word(field.range),
               word(field.help)});
  }
  return table;
}

void print_fields(const std::vector<FieldDescription>& fields) {
  if (fields.empty()) {
    std::cout << "It has no fields.\n";
    return;
  }
  const Table table = field_table(fields);
  if (fits(table.text(Terminal{}), look_at(STDOUT_FILENO).width)) {
    table.print(false);
    return;
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const FieldDescription& field : fields) {
    const std::string range = field.range.empty() ? "" : ", " + field.range;
    pairs.push_back({field.name, field.help + " (" + field.type + range + "; default " +
                                     default_text(field) + ")"});
  }
  print_pairs(pairs);
}

}  // namespace echo::cli
