#pragma once

#include "framework/src/recipe/values.h"

#include <echo/fields.h>
#include <echo/registry.h>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// One field as a person reads it.
struct FieldDescription {
  std::string name;  // dotted inside of sections; "train[].length" in a list of maps
  std::string type;  // "integer", "number or null", "one of exact, prefix", "list of integers"
  nlohmann::ordered_json value;  // the default
  std::string range;             // "at least 1"; empty when everything is allowed
  std::string help;
};

// All fields, with their present values for defaults. The lists of maps among them get one entry.
std::vector<FieldDescription> describe(const std::vector<Field>& fields);

// The fields of a kind with the defaults that they have before a place is known.
template <class Kind>
std::vector<FieldDescription> describe(const Kind& kind) {
  const std::unique_ptr<Options> options = kind.options();
  return describe(fields_of(*options));
}

// A tree of values that write_fields or write_kind has made.
nlohmann::ordered_json to_json(const Node& node);

}  // namespace echo
