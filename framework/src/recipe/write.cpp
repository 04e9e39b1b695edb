#include "framework/src/recipe/tree.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace echo {

namespace {

constexpr size_t kColumns = 100;

bool is_plain_letter(char letter) {
  const auto code = static_cast<unsigned char>(letter);
  return std::isalnum(code) || letter == '_' || letter == '-' || letter == '.' || letter == '/' ||
         letter == '+';
}

// Text that YAML would take for a number, a truth value or null.
bool looks_like_something_else(const std::string& text) {
  for (const char* word : {"null", "true", "false", "yes", "no", "on", "off", "nan", "inf"}) {
    if (text.size() == std::string(word).size() &&
        std::equal(text.begin(), text.end(), word,
                   [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }))
      return true;
  }
  const bool number = std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '.';
  return number && text.find_first_not_of("0123456789abcdefABCDEF.xXoO_+-") == std::string::npos;
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') quoted += '\\';
    if (letter == '\n') {
      quoted += "\\n";
    } else if (letter == '\t') {
      quoted += "\\t";
    } else if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\x%02X", static_cast<unsigned>(letter));
      quoted += code;
    } else {
      quoted += letter;
    }
  }
  return quoted + "\"";
}

std::string scalar_text(const std::string& text, bool is_text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), is_plain_letter) &&
                     (std::isalnum(static_cast<unsigned char>(text[0])) || text[0] == '/' ||
                      text[0] == '_' || !is_text);
  return plain && !(is_text && looks_like_something_else(text)) ? text : quote(text);
}

// On one line: {kind: ska, heads: 2}.
std::string flow(const Node& node) {
  if (node.is_null()) return "null";
  if (node.is_scalar()) return scalar_text(node.text, node.quoted);
  std::string text;
  for (const Node& item : node.items) text += (text.empty() ? "" : ", ") + flow(item);
  if (node.is_list()) return "[" + text + "]";
  for (const Node::Entry& entry : node.entries) {
    text += (text.empty() ? "" : ", ") + scalar_text(entry.key, true) + ": " + flow(entry.value);
  }
  return "{" + text + "}";
}

// Maps inside of maps get lines of their own.
bool holds_map(const Node& node) {
  const auto is_deep = [](const Node& child) { return child.is_map() || holds_map(child); };
  return std::any_of(node.items.begin(), node.items.end(), is_deep) ||
         std::any_of(node.entries.begin(), node.entries.end(),
                     [&](const Node::Entry& entry) { return is_deep(entry.value); });
}

void write_block(const Node& node, size_t indent, std::string& text);

// What follows "key:" or "-", with the line's end. used: columns taken on this line.
void write_value(const Node& node, size_t indent, size_t used, std::string& text) {
  const bool empty = node.items.empty() && node.entries.empty();
  const bool structured = (node.is_map() || node.is_list()) && !empty;
  const bool splits =
      node.is_map() ? holds_map(node) : !node.items.empty() && node.items[0].is_list();
  const std::string line = flow(node);
  if (!structured || (!splits && used + 1 + line.size() <= kColumns)) {
    text += " " + line + "\n";
    return;
  }
  text += "\n";
  write_block(node, indent + 2, text);
}

void write_block(const Node& node, size_t indent, std::string& text) {
  const std::string space(indent, ' ');
  for (const Node::Entry& entry : node.entries) {
    const std::string key = scalar_text(entry.key, true) + ":";
    text += space + key;
    write_value(entry.value, indent, indent + key.size(), text);
  }
  for (const Node& item : node.items) {
    const std::string line = flow(item);
    if ((!item.is_map() && !item.is_list()) || indent + 2 + line.size() <= kColumns ||
        line.size() <= 2) {
      text += space + "- " + line + "\n";
      continue;
    }
    text += space + "-";
    // The block of a list's item begins on a line of its own.
    text += "\n";
    write_block(item, indent + 2, text);
  }
}

}  // namespace

std::string write_yaml(const Node& tree) {
  std::string text;
  if (tree.is_map() && !tree.entries.empty()) {
    write_block(tree, 0, text);
    return text;
  }
  return flow(tree) + "\n";
}

}  // namespace echo
