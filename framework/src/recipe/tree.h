#pragma once

#include <echo/error.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace echo {

// A piece of YAML that knows where it was written. The tree owns its children; anchors are copied
// out.
struct Node {
  enum class Type { null, scalar, list, map };

  struct Entry;

  Type type = Type::null;
  std::string text;     // of a scalar
  bool quoted = false;  // a quoted scalar is always text
  bool blank = false;   // a null for which nothing was written: "steps:"
  Location where;
  std::string folder;  // what relative paths in it are relative to
  std::vector<Node> items;
  std::vector<Entry> entries;  // in the order of the file; keys are unique

  const Node* find(const std::string& key) const;  // null: not there
  Node* find(const std::string& key);
  const Entry* entry(const std::string& key) const;
  void set(const std::string& key, const Location& where, Node value);
  void remove(const std::string& key);
};

struct Node::Entry {
  std::string key;
  Location where;
  Node value;
};

// Parses one YAML document. `name` stands for the file in messages. Throws ConfigError.
Node parse_yaml(const std::string& text, const std::string& name, const std::string& folder);

// Reads a file, follows its `extends`, applies overrides ("train.steps=100", the value is YAML).
// Maps merge, lists replace, a map whose `kind` changes replaces whole, null deletes.
Node read_tree(const std::string& path, const std::vector<std::string>& overrides);

// `over` wins over `base`.
Node merge(Node base, const Node& over);

// Applies "a.b.c=value"; a number reaches into a list. Relative paths in it are relative to the
// current folder.
void apply_overrides(Node& tree, const std::vector<std::string>& overrides);

// YAML text of a tree; parsing it gives the same tree but for places.
std::string write_yaml(const Node& tree);

}  // namespace echo
