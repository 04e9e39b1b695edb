#pragma once

#include "framework/src/recipe/recipe.h"
#include "framework/src/recipe/values.h"
#include "framework/src/text/near.h"

#include <string>
#include <vector>

namespace echo {

// Messages about a map that should choose a kind. sort: "mixer", "task", "optimizer", "schedule".
std::string read_kind_name(const Node& node, const std::string& path, const std::string& sort,
                           const std::vector<std::string>& known, const std::string& fallback);

// Reads {kind: ..., fields...}. fallback: the kind of a map that names none; empty: it must.
// The options are not completed yet.
template <class Product, class Where>
KindChoice read_kind(const Kinds<Product, Where>& kinds, const Node& node, const std::string& path,
                     const std::string& sort, MixerReader& mixers,
                     const std::string& fallback = "") {
  std::vector<std::string> known;
  for (const auto& [name, kind] : kinds.all()) known.push_back(name);
  KindChoice choice;
  choice.kind = read_kind_name(node, path, sort, known, fallback);
  choice.path = path;
  choice.where = node.where;
  const std::unique_ptr<Options> options = kinds.find(choice.kind)->options();
  choice.places = read_fields(node, fields_of(*options), {path, choice.kind, {"kind"}, &mixers});
  choice.options = options->clone();
  return choice;
}

// The choice with its derived defaults filled in.
template <class Product, class Where>
KindChoice complete(const Kinds<Product, Where>& kinds, KindChoice choice, const Where& where) {
  const std::unique_ptr<Options> options = choice.options->clone();
  try {
    kinds.find(choice.kind)->complete(*options, where);
  } catch (const FieldError& mistake) {
    throw choice.error(mistake);
  }
  choice.options = options->clone();
  return choice;
}

// The kind of a name that came from the command line. Throws ConfigError for an unknown one.
template <class Product, class Where>
const KindOf<Product, Where>& find_kind(const Kinds<Product, Where>& kinds, const std::string& name,
                                        const std::string& sort) {
  if (const auto* kind = kinds.find(name)) return *kind;
  std::vector<std::string> known;
  for (const auto& [other, kind] : kinds.all()) known.push_back(other);
  throw ConfigError("unknown " + sort + " '" + name + "'" +
                    known_words(name, "known " + sort + "s", known));
}

// {kind: ska, heads: 2, ...} with the present values of all fields.
Node write_kind(const std::string& kind, const Options& options);
Node write_kind(const KindChoice& choice);

}  // namespace echo
