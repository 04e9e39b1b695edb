#include "framework/src/recipe/kinds.h"

#include <algorithm>

namespace echo {

namespace {

std::string known_kinds(const std::string& sort, const std::vector<std::string>& known) {
  if (known.empty()) return "no " + sort + " is known here";
  return "known " + sort + "s: " + join(known);
}

std::string missing_kind(const Node& node, const std::string& path, const std::string& sort,
                         const std::vector<std::string>& known) {
  std::vector<std::string> keys;
  for (const Node::Entry& entry : node.entries) keys.push_back(entry.key);
  const std::string near = near_name("kind", keys);
  std::string message = path + ": the kind is missing";
  if (!near.empty()) message += "; did you mean 'kind' by '" + near + "'?";
  return message + (near.empty() ? "; " : " ") + known_kinds(sort, known);
}

}  // namespace

std::string read_kind_name(const Node& node, const std::string& path, const std::string& sort,
                           const std::vector<std::string>& known, const std::string& fallback) {
  if (!node.is_map()) {
    const std::string example = node.is_scalar() ? node.text : known.empty() ? "..." : known[0];
    throw ConfigError(node.where, path + ": expected a map with a kind, as in {kind: " + example +
                                      "}, found " + node.found());
  }
  const Node* kind = node.find("kind");
  if (!kind || (kind->is_null() && !kind->blank)) {
    if (std::find(known.begin(), known.end(), fallback) != known.end()) return fallback;
    throw ConfigError(node.where, missing_kind(node, path, sort, known));
  }
  const std::string name = read_word(*kind, path + ".kind", "the name of a " + sort);
  if (std::find(known.begin(), known.end(), name) != known.end()) return name;
  std::string message = path + ".kind: unknown " + sort + " " + kind->found();
  const std::string near = did_you_mean(name, known);
  message += (near.empty() ? "; " : near + " ") + known_kinds(sort, known);
  const size_t slash = name.find('/');
  if (slash != std::string::npos) {
    message += "; kinds of the plugin '" + name.substr(0, slash) +
               "' need its file under 'plugins:' or --plugin FILE";
  }
  throw ConfigError(kind->where, message);
}

ConfigError KindChoice::error(const FieldError& mistake) const {
  // "segments.train.0.pairs" may have been written as a whole, or not at all.
  std::string name = mistake.field();
  while (!name.empty()) {
    const auto found = places.find(name);
    if (found != places.end())
      return {found->second, join_path(path, mistake.field()) + ": " + mistake.what()};
    const size_t dot = name.rfind('.');
    name = dot == std::string::npos ? "" : name.substr(0, dot);
  }
  return {where, join_path(path, mistake.field()) + ": " + mistake.what()};
}

Node write_kind(const KindChoice& choice) {
  const std::unique_ptr<Options> options = choice.options->clone();
  Node node;
  node.add("kind", scalar(choice.kind));
  for (Node::Entry& entry : write_fields(fields_of(*options)).entries)
    node.add(entry.key, std::move(entry.value));
  return node;
}

}  // namespace echo
