#pragma once

#include <echo/error.h>

#include <string>
#include <vector>

namespace echo {

// A piece of YAML that knows where it was written. A tree owns its children; aliases are copied
// out.
struct Node {
  enum class Type { null, scalar, list, map };
  struct Entry;

  Type type = Type::null;
  std::string text;     // of a scalar
  bool quoted = false;  // a quoted scalar is always text
  bool block = false;   // a quoted one that follows '|' or '>'
  bool blank = false;   // a null for which nothing was written: "steps:"
  Location where;
  std::string folder;  // what relative paths in it are relative to
  std::vector<Node> items;
  std::vector<Entry> entries;  // in the order of the file; keys are unique

  bool is_null() const { return type == Type::null; }
  bool is_map() const { return type == Type::map; }
  bool is_list() const { return type == Type::list; }
  bool is_scalar() const { return type == Type::scalar; }

  const Entry* entry(const std::string& key) const;  // null: not there
  Entry* entry(const std::string& key);
  const Node* find(const std::string& key) const;  // null: not there
  void add(const std::string& key, Node value);    // for trees that are written
  void remove(const std::string& key);

  // "a map", "a list", "null", "'many'": what an error says that it found.
  std::string found() const;
};

struct Node::Entry {
  std::string key;
  Location where;
  Node value;
};

// The beginning of a text, for messages: at most 60 bytes of its first line.
std::string shortened(const std::string& text);

// For trees that are written.
Node scalar(std::string text);
Node quoted(std::string text);

// Reads a recipe's file, follows its `extends`, and applies overrides. Throws ConfigError.
Node read_tree(const std::string& path, const std::vector<std::string>& overrides);

// The same for a text; `name` stands for the file in messages.
Node read_tree_text(const std::string& text, const std::string& name, const std::string& folder,
                    const std::vector<std::string>& overrides);

// A map that was read inside of another file, with its own `extends` followed. Throws ConfigError.
Node extended(Node map);

// `over` laid over `base`: maps merge, lists and values replace, a map whose `kind` changes
// replaces whole; null stays, and is read as if its key had not been written.
Node merge(Node base, Node over);

// Applies "a.b.c=value": the value is YAML, a number in the path reaches into a list, and relative
// paths are relative to the current folder. The order does not matter, but the last of two for the
// same key wins. Throws ConfigError with the place "--set a.b.c".
void apply_overrides(Node& tree, const std::vector<std::string>& overrides);

// YAML text of a tree; parsing it gives the same tree but for places.
std::string write_yaml(const Node& tree);

}  // namespace echo
