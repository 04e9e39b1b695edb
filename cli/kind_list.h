#pragma once

#include "cli/command.h"
#include "cli/table.h"
#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"

#include <iostream>
#include <string>
#include <vector>

namespace echo::cli {

// The fields of a kind: name, type, default, range, help.
Table field_table(const std::vector<FieldDescription>& fields);

// The table where it fits into the terminal, else a paragraph per field: help must not be cut.
void print_fields(const std::vector<FieldDescription>& fields);

// The mixer of a name with fields from --set, completed for its place.
KindChoice choose_mixer(const Registry& registry, const std::string& kind,
                        const std::vector<std::string>& set, const Place& place);

// A kind as JSON, with its fields.
template <class Kind>
nlohmann::ordered_json kind_json(const Kind& kind) {
  return {{"kind", kind.name},
          {"summary", kind.summary},
          {"origin", kind.origin},
          {"fields", field_table(describe(kind)).json()}};
}

// All kinds of a sort: name and summary; then those of plugins, with the files that added them.
template <class Kinds>
int list_kinds(const Kinds& kinds, bool as_json) {
  Table table({"kind", "summary"});
  Table strangers({"kind", "summary", "origin"});
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& [name, kind] : kinds.all()) {
    json.push_back({{"kind", name}, {"summary", kind.summary}, {"origin", kind.origin}});
    if (name.find('/') == std::string::npos) {
      table.add({word(name), word(kind.summary)});
    } else {
      strangers.add({word(name), word(kind.summary), word(kind.origin)});
    }
  }
  if (as_json) {
    std::cout << json.dump(2) << "\n";
    return kDone;
  }
  table.print(false);
  if (strangers.empty()) return kDone;
  std::cout << "\n";
  strangers.print(false);
  return kDone;
}

// One kind: what it is, further pairs that the caller knows, and its fields.
template <class Kind>
int print_kind(const Kind& kind, std::vector<std::pair<std::string, std::string>> pairs = {}) {
  pairs.insert(pairs.begin(), {{kind.name, kind.summary}, {"from", kind.origin}});
  print_pairs(pairs);
  std::cout << "\n";
  print_fields(describe(kind));
  return kDone;
}

// A whole command that lists the kinds of a sort and shows one: `optimizers`, `schedules`.
template <class Kinds>
void add_kind_command(Program& program, const std::string& sort, const std::string& summary,
                      const Kinds Registry::*member, const std::string& example) {
  struct Arguments {
    std::string kind;
    bool as_json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  Command& command = program.command("What there is", sort + "s", summary);
  command.argument("KIND", arguments->kind, "the " + sort + " to show; without it all are listed");
  command.add_json(arguments->as_json);
  command.example(sort + "s", "all kinds");
  command.example(sort + "s " + example, "its fields");
  command.run = [&program, arguments, sort, member] {
    const Kinds& kinds = program.plugins().registry().*member;
    if (arguments->kind.empty()) return list_kinds(kinds, arguments->as_json);
    const auto& kind = find_kind(kinds, arguments->kind, sort);
    if (!arguments->as_json) return print_kind(kind);
    std::cout << kind_json(kind).dump(2) << "\n";
    return static_cast<int>(kDone);
  };
}

}  // namespace echo::cli
