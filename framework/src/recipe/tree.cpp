#include "framework/src/recipe/tree.h"

#include "framework/src/recipe/parse.h"
#include "framework/src/text/near.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace echo {

namespace fs = std::filesystem;

const Node::Entry* Node::entry(const std::string& key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

Node::Entry* Node::entry(const std::string& key) {
  return const_cast<Entry*>(static_cast<const Node*>(this)->entry(key));
}

const Node* Node::find(const std::string& key) const {
  const Entry* found = entry(key);
  return found ? &found->value : nullptr;
}

void Node::add(const std::string& key, Node value) {
  type = Type::map;
  entries.push_back({key, {}, std::move(value)});
}

void Node::remove(const std::string& key) {
  entries.erase(std::remove_if(entries.begin(), entries.end(),
                               [&](const Entry& entry) { return entry.key == key; }),
                entries.end());
}

std::string Node::found() const {
  if (type == Type::map) return "a map";
  if (type == Type::list) return "a list";
  if (type == Type::null) return blank ? "nothing" : "null";
  return (quoted ? "the text '" : "'") + shortened(text) + "'";
}

std::string shortened(const std::string& text) {
  size_t end = std::min({text.find('\n'), text.size(), size_t{60}});
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + (end < text.size() ? "..." : "");
}

Node scalar(std::string text) {
  Node node;
  node.type = Node::Type::scalar;
  node.text = std::move(text);
  return node;
}

Node quoted(std::string text) {
  Node node = scalar(std::move(text));
  node.quoted = true;
  return node;
}

namespace {

// Files that were opened on the way to this one by `extends`.
struct Chain {
  std::vector<std::string> shown;
  std::vector<fs::path> files;
};

std::string missing_file(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code failure;
  if (!fs::is_directory(folder, failure))
    return "no such file: the folder '" + folder.string() + "' does not exist";
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder, failure))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  const std::string near = near_name(path.filename().string(), names);
  if (near.empty()) return "no such file";
  return "no such file; did you mean '" + (path.parent_path() / near).string() + "'?";
}

// `where` is where the path was written; without a file, the path came from the command line.
std::string read_text(const fs::path& path, const Location& where) {
  if (path.empty()) throw ConfigError("the name of the recipe's file is empty; name a file");
  const auto fail = [&](const std::string& message) {
    if (where.file.empty()) throw ConfigError({path.string(), 0, 0}, message);
    throw ConfigError(where, "extends: '" + path.string() + "': " + message);
  };
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::not_found) fail(missing_file(path));
  if (fs::is_directory(status)) {
    const fs::path inside = path / "recipe.yaml";
    fail(fs::is_regular_file(inside, failure)
             ? "is a folder; did you mean '" + inside.string() + "'?"
             : "is a folder; name a recipe's file in it");
  }
  // A recipe is read more than once, and reading may wait for ever.
  if (fs::is_fifo(status)) fail("is a pipe; write the recipe to a file");
  if (fs::is_other(status)) fail("is no regular file; write the recipe to a file");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(std::string("cannot be read: ") + std::strerror(errno));
  std::string text(kLargestFile + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) fail(std::string("cannot be read: ") + std::strerror(errno));
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

Node follow_extends(Node tree, const fs::path& shown, Chain& chain);

Node read_file(const fs::path& path, const Location& where, Chain& chain) {
  const std::string text = read_text(path, where);
  std::error_code failure;
  const fs::path real = fs::weakly_canonical(path, failure);
  const bool seen = std::find(chain.files.begin(), chain.files.end(), real) != chain.files.end();
  chain.shown.push_back(path.string());
  if (seen) throw ConfigError(where, "extends: a circle: " + join(chain.shown, " -> "));
  chain.files.push_back(real);
  Node tree = parse_yaml(text, path.string(), fs::absolute(path).parent_path().string());
  return follow_extends(std::move(tree), path, chain);
}

Node follow_extends(Node tree, const fs::path& shown, Chain& chain) {
  if (tree.is_null())
    throw ConfigError(tree.where, "is empty; a recipe has at least model, task and train");
  if (!tree.is_map()) {
    throw ConfigError(tree.where,
                      "expected a recipe, which is a map of sections (model, task, train), found " +
                          tree.found());
  }
  const Node* base = tree.find("extends");
  if (!base) return tree;
  const Node value = *base;
  tree.remove("extends");
  if (value.is_null() && !value.blank) return tree;
  if (!value.is_scalar())
    throw ConfigError(value.where, "extends: expected one file's name, found " + value.found());
  const fs::path path = (shown.parent_path() / value.text).lexically_normal();
  return merge(read_file(path, value.where, chain), std::move(tree));
}

const std::string* kind_of(const Node& node) {
  const Node* kind = node.find("kind");
  return kind && kind->is_scalar() ? &kind->text : nullptr;
}

struct Override {
  std::vector<std::string> path;
  Location where;
  Node value;
};

void place_all(Node& node, const Location& where) {
  node.where = where;
  for (Node& item : node.items) place_all(item, where);
  for (Node::Entry& entry : node.entries) {
    entry.where = where;
    place_all(entry.value, where);
  }
}

Override read_override(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError("--set " + text +
                      ": expected KEY=VALUE, as in --set train.steps=100 or --set "
                      "'task={kind: mqar}'");
  }
  const std::string key = text.substr(0, equals);
  Override result;
  result.where = {"--set " + key, 0, 0};
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    if (end == begin) throw ConfigError(result.where, "a name is missing beside a '.'");
    result.path.push_back(key.substr(begin, end - begin));
    begin = end + 1;
  }
  if (result.path.size() > kDeepest)
    throw ConfigError(result.where, "more than " + std::to_string(kDeepest) + " names deep");
  if (result.path[0] == "extends") {
    throw ConfigError(result.where,
                      "cannot be changed from the command line; write a recipe that extends the "
                      "other one");
  }
  result.value =
      parse_yaml(text.substr(equals + 1), result.where.file, fs::current_path().string());
  place_all(result.value, result.where);
  return result;
}

Node& list_item(Node& list, const Override& change, size_t depth) {
  const std::string& word = change.path[depth];
  const std::vector<std::string> before(change.path.begin(),
                                        change.path.begin() + static_cast<ptrdiff_t>(depth));
  const std::string size = std::to_string(list.items.size());
  const bool digits =
      !word.empty() && word.size() < 10 &&
      std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || std::stoul(word) >= list.items.size()) {
    throw ConfigError(change.where, join(before, ".") + " is a list of " + size + ", and '" + word +
                                        "' is no index into it; indices count from 0");
  }
  return list.items[std::stoul(word)];
}

void apply(Node& node, const Override& change, size_t depth) {
  if (depth == change.path.size()) {
    node = merge(std::move(node), change.value);
    return;
  }
  if (node.is_list()) return apply(list_item(node, change, depth), change, depth + 1);
  const std::vector<std::string> before(change.path.begin(),
                                        change.path.begin() + static_cast<ptrdiff_t>(depth));
  if (node.is_scalar()) {
    throw ConfigError(change.where, join(before, ".") + " is " + node.found() +
                                        ", which has no field '" + change.path[depth] + "'");
  }
  if (node.is_null()) {
    node.type = Node::Type::map;
    node.where = change.where;
  }
  const std::string& key = change.path[depth];
  const bool last = depth + 1 == change.path.size();
  const std::string* kind = kind_of(node);
  if (key == "kind" && last && kind && change.value.is_scalar() && change.value.text != *kind)
    node.entries.clear();
  if (!node.entry(key)) node.entries.push_back({key, change.where, {}});
  apply(node.entry(key)->value, change, depth + 1);
}

// Under model.mixers and evaluate.tasks every name is allowed, but one that overrides added without
// a kind was probably meant to be one that is there.
void refuse_new_names(const Node& tree, const std::string& section, const std::string& list) {
  const Node* parent = tree.find(section);
  const Node* named = parent ? parent->find(list) : nullptr;
  if (!named) return;
  const auto is_new = [](const Node::Entry& entry) {
    return entry.value.is_map() && !entry.value.find("kind") &&
           entry.where.file.starts_with("--set ");
  };
  std::vector<std::string> known;
  for (const Node::Entry& entry : named->entries) {
    if (!is_new(entry)) known.push_back(entry.key);
  }
  if (known.empty()) return;
  for (const Node::Entry& entry : named->entries) {
    if (!is_new(entry)) continue;
    throw ConfigError(entry.where, section + "." + list + " has no '" + entry.key + "'" +
                                       known_words(entry.key, "it has", known));
  }
}

}  // namespace

Node extended(Node map) {
  Chain chain{{map.where.file}, {}};
  const fs::path beside = fs::path(map.folder) / "recipe.yaml";
  return follow_extends(std::move(map), beside, chain);
}

Node merge(Node base, Node over) {
  if (!base.is_map() || !over.is_map()) return over;
  const std::string* before = kind_of(base);
  const std::string* after = kind_of(over);
  if (before && after && *before != *after) return over;
  base.where = over.where;
  for (Node::Entry& entry : over.entries) {
    if (Node::Entry* below = base.entry(entry.key)) {
      below->where = entry.where;
      below->value = merge(std::move(below->value), std::move(entry.value));
    } else {
      base.entries.push_back(std::move(entry));
    }
  }
  return base;
}

void apply_overrides(Node& tree, const std::vector<std::string>& overrides) {
  std::vector<Override> changes;
  for (const std::string& text : overrides) changes.push_back(read_override(text));
  // A kind first: it empties its map, so a field of it that is set too must come after.
  std::stable_partition(changes.begin(), changes.end(),
                        [](const Override& change) { return change.path.back() == "kind"; });
  for (const Override& change : changes) apply(tree, change, 0);
  refuse_new_names(tree, "model", "mixers");
  refuse_new_names(tree, "evaluate", "tasks");
}

Node read_tree(const std::string& path, const std::vector<std::string>& overrides) {
  Chain chain;
  Node tree = read_file(path, {}, chain);
  apply_overrides(tree, overrides);
  return tree;
}

Node read_tree_text(const std::string& text, const std::string& name, const std::string& folder,
                    const std::vector<std::string>& overrides) {
  Chain chain{{name}, {}};
  const fs::path absolute = fs::absolute(folder);
  Node tree = parse_yaml(text, name, absolute.string());
  tree = follow_extends(std::move(tree), fs::path(folder) / "recipe.yaml", chain);
  apply_overrides(tree, overrides);
  return tree;
}

}  // namespace echo
