#include "framework/src/recipe/kinds.h"

#include <algorithm>

namespace echo {

namespace {

[[noreturn]] void refuse_missing_kind(const Node& node, const std::string& path,
                                      const std::string& sort,
                                      const std::vector<std::string>& known) {
  std::vector<std::string> keys;
  for (const Node::Entry& entry : node.entries) {
    if (entry.key != "kind") keys.push_back(entry.key);  // which is null
  }
  const std::string list = "nown " + sort + "s: " + (known.empty() ? "none" : join(known));
  if (const Node::Entry* near = node.entry(near_name("kind", keys))) {
    throw ConfigError(near->where,
                      join_path(path, near->key) + ": unknown key; did you mean 'kind'? K" + list);
  }
  std::string example = "{kind: NAME, ...}";
  if (keys.size() == 1 && std::find(known.begin(), known.end(), keys[0]) != known.end())
    example = "{kind: " + keys[0] + ", ...}";  // {attention: {heads: 4}}
  throw ConfigError(node.where, path + ": the kind is missing; write " + example + "; k" + list);
}

// What to do about an unknown kind "plugin/...".
std::string about_plugin(const std::string& plugin, const std::string& sort,
                         const std::vector<std::string>& known) {
  std::vector<std::string> own;
  for (const std::string& kind : known) {
    if (kind.starts_with(plugin + "/")) own.push_back(kind);
  }
  if (own.empty())
    return "; kinds of the plugin '" + plugin + "' need its file under 'plugins:' or --plugin FILE";
  return "; the " + sort + "s of the plugin '" + plugin + "', which is loaded: " + join(own);
}

}  // namespace

std::string read_kind_name(const Node& node, const std::string& path, const std::string& sort,
                           const std::vector<std::string>& known, const std::string& fallback) {
  if (!node.is_map()) {
    const std::string near = near_name(node.text, known);
    const std::string example = !near.empty() ? near : known.empty() ? "NAME" : known[0];
    throw ConfigError(node.where, path + ": expected a map with a kind, as in {kind: " + example +
                                      "}, found " + node.found());
  }
  const Node* kind = node.find("kind");
  if (!kind || (kind->is_null() && !kind->blank)) {
    if (std::find(known.begin(), known.end(), fallback) != known.end()) return fallback;
    refuse_missing_kind(node, path, sort, known);
  }
  const std::string name = read_word(*kind, path + ".kind", "the name of a " + sort);
  if (std::find(known.begin(), known.end(), name) != known.end()) return name;
  std::string message = path + ".kind: unknown " + sort + " " + kind->found() +
                        known_words(name, "known " + sort + "s", known);
  const size_t slash = name.find('/');
  if (slash != std::string::npos) message += about_plugin(name.substr(0, slash), sort, known);
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

Node write_kind(const std::string& kind, const Options& options) {
  const std::unique_ptr<Options> copy = options.clone();
  Node node;
  node.add("kind", scalar(kind));
  for (Node::Entry& entry : write_fields(fields_of(*copy)).entries)
    node.add(entry.key, std::move(entry.value));
  return node;
}

Node write_kind(const KindChoice& choice) { return write_kind(choice.kind, *choice.options); }

}  // namespace echo
