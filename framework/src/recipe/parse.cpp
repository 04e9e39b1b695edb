#include "framework/src/recipe/parse.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/parser.h>

namespace echo {

namespace {

constexpr size_t kLargestTree = size_t{16} << 20;  // bytes, after aliases are copied out
constexpr size_t kNodeBytes = 64;

// The text and its lines; turns yaml-cpp's places (bytes, from 0) into ours (characters, from 1).
class Source {
 public:
  Source(const std::string& text, const std::string& name) : text_(text), name_(name) {
    lines_.push_back(0);
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') lines_.push_back(i + 1);
    }
  }

  Location place(size_t line, size_t byte) const {
    // Counted on from the last place: a line may be long, and places mostly come in order.
    const std::string_view text = line_text(line);
    if (line != line_ || byte < byte_) byte_ = characters_ = 0;
    line_ = line;
    for (; byte_ < std::min(byte, text.size()); ++byte_) {
      if ((static_cast<unsigned char>(text[byte_]) & 0xC0) != 0x80) ++characters_;
    }
    return {name_, static_cast<int>(line) + 1, static_cast<int>(characters_) + 1};
  }

  Location place(const YAML::Mark& mark) const {
    if (mark.line < 0) return {name_, 0, 0};
    return place(static_cast<size_t>(mark.line), static_cast<size_t>(mark.column));
  }

  std::string_view line_text(size_t line) const {
    if (line >= lines_.size()) return {};
    const size_t end = line + 1 < lines_.size() ? lines_[line + 1] - 1 : text_.size();
    return std::string_view(text_).substr(lines_[line], end - lines_[line]);
  }

  // From the mark to the end of the text.
  std::string_view rest(const YAML::Mark& mark) const {
    const auto line = static_cast<size_t>(std::max(mark.line, 0));
    if (line >= lines_.size()) return {};
    const size_t at = lines_[line] + static_cast<size_t>(std::max(mark.column, 0));
    return std::string_view(text_).substr(std::min(at, text_.size()));
  }

 private:
  const std::string& text_;
  std::string name_;
  std::vector<size_t> lines_;  // where each begins
  mutable size_t line_ = 0;    // of the last place, with its bytes and characters
  mutable size_t byte_ = 0;
  mutable size_t characters_ = 0;
};

// yaml-cpp takes the end of the text for a closing quote.
bool closes_its_quote(std::string_view text) {
  const char quote = text.front();
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || i + 1 == text.size() || text[i + 1] != quote) return true;
      ++i;  // '' inside single quotes
    }
  }
  return false;
}

bool begins_with_null(std::string_view text) {
  for (const std::string_view word : {"~", "null", "Null", "NULL"}) {
    if (text.substr(0, word.size()) == word) return true;
  }
  return false;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const Source& source, std::string folder)
      : source_(source), folder_(std::move(folder)) {}

  Node take() { return std::move(root_); }

  // "the bracket that opens in line 3, column 5 is not closed", if there is one.
  std::string open_bracket() const {
    for (auto frame = stack_.rbegin(); frame != stack_.rend(); ++frame) {
      if (!frame->flow) continue;
      return "the bracket that opens in line " + std::to_string(frame->node.where.line) +
             ", column " + std::to_string(frame->node.where.column) +
             " is not closed, or a ',' is missing";
    }
    return "";
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw ConfigError(source_.place(mark),
                        "a second document begins here; write one per file, without '---' between");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node = make(Node::Type::null, mark, "");
    node.blank = !begins_with_null(source_.rest(mark));
    if (node.blank && !stack_.empty() && stack_.back().has_key)
      node.where = stack_.back().key_where;
    value(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw ConfigError(source_.place(mark), "an alias inside of what it stands for");
    has_aliases_ = true;
    value(found->second.node, 0, found->second.bytes);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    Node node = make(Node::Type::scalar, mark, tag);
    node.text = text;
    node.quoted = tag == "!";
    const std::string_view rest = source_.rest(mark);
    node.block = node.quoted && !rest.empty() && (rest[0] == '|' || rest[0] == '>');
    if (node.quoted && !rest.empty() && (rest[0] == '\'' || rest[0] == '"') &&
        !closes_its_quote(rest))
      throw ConfigError(node.where, "not valid YAML: the quote that opens here is never closed");
    value(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(make(Node::Type::list, mark, tag), anchor, style);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    open(make(Node::Type::map, mark, tag), anchor, style);
  }
  void OnMapEnd() override { close(); }

 private:
  // A list or map that is being read.
  struct Frame {
    Node node;
    YAML::anchor_t anchor = 0;
    size_t bytes = 0;  // read before it
    bool flow = false;
    bool has_key = false;
    std::string key;
    Location key_where;
    std::map<std::string, int> lines;  // of the keys so far
  };
  struct Anchored {
    Node node;
    size_t bytes = 0;
  };

  Node make(Node::Type type, const YAML::Mark& mark, const std::string& tag) const {
    Node node;
    node.type = type;
    node.where = source_.place(mark);
    node.folder = folder_;
    if (!tag.empty() && tag != "?" && tag != "!") {
      const std::string standard = "tag:yaml.org,2002:";
      const std::string shown =
          tag.starts_with(standard) ? "!!" + tag.substr(standard.size()) : tag;
      throw ConfigError(node.where, "tags such as '" + shown + "' are not supported; remove it");
    }
    return node;
  }

  void open(Node node, YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
    if (stack_.size() >= kDeepest) {
      throw ConfigError(node.where, "nested more than " + std::to_string(kDeepest) + " deep");
    }
    stack_.emplace_back();
    stack_.back().node = std::move(node);
    stack_.back().anchor = anchor;
    stack_.back().bytes = bytes_;
    stack_.back().flow = style == YAML::EmitterStyle::Flow;
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    value(std::move(frame.node), frame.anchor, kNodeBytes, bytes_ - frame.bytes);
  }

  void value(Node node, YAML::anchor_t anchor) {
    const size_t bytes = kNodeBytes + node.text.size();
    value(std::move(node), anchor, bytes, bytes);
  }
  void value(Node node, YAML::anchor_t anchor, size_t bytes) {
    value(std::move(node), anchor, bytes, bytes);
  }

  // added: what this call adds to the tree; whole: the node with all that is in it.
  void value(Node node, YAML::anchor_t anchor, size_t added, size_t whole) {
    bytes_ += added;
    if (bytes_ > kLargestTree) {
      throw ConfigError(node.where, (has_aliases_ ? "too large once its aliases are copied out"
                                                  : "too many values up to here") +
                                        std::string(" (more than ") +
                                        std::to_string(kLargestTree >> 20) + " MiB)");
    }
    if (anchor != 0) anchors_[anchor] = {node, whole};
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& top = stack_.back();
    if (top.node.type == Node::Type::list) {
      top.node.items.push_back(std::move(node));
    } else if (top.has_key) {
      top.has_key = false;
      top.node.entries.push_back({top.key, top.key_where, std::move(node)});
    } else {
      key(top, node);
    }
  }

  static void key(Frame& map, const Node& node) {
    if (node.type != Node::Type::scalar)
      throw ConfigError(node.where, node.is_null()
                                        ? "a key is missing before this ':', or needs quotes"
                                        : "a key must be a word, not a list or a map");
    if (node.text == "<<" && !node.quoted) {
      throw ConfigError(node.where,
                        "'<<' (a merge key) is not supported; a recipe takes over another one with "
                        "'extends: other.yaml'");
    }
    const auto [first, is_new] = map.lines.emplace(node.text, node.where.line);
    if (!is_new) {
      throw ConfigError(node.where, "the key '" + node.text +
                                        "' is written twice in this map; the first is in line " +
                                        std::to_string(first->second) + "; remove one");
    }
    map.has_key = true;
    map.key = node.text;
    map.key_where = node.where;
  }

  const Source& source_;
  std::string folder_;
  Node root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  size_t bytes_ = 0;
  bool has_aliases_ = false;
  int documents_ = 0;
};

bool is_space(char letter) { return letter == ' ' || letter == '\t' || letter == '\r'; }

// yaml-cpp says what it looked for; a person wants to know what to change. before: the line up to
// the place.
std::string explanation(const std::string& message, std::string_view before,
                        const std::string& bracket) {
  if (!bracket.empty() && message.find("flow not found") != std::string::npos) return bracket;
  if (message == YAML::ErrorMsg::MAP_VALUE) {
    return "a ':' where no key can stand; write one key per line, indent the keys of a map alike, "
           "and put quotes around text that holds ': '";
  }
  if (message == YAML::ErrorMsg::END_OF_MAP || message == YAML::ErrorMsg::END_OF_SEQ) {
    return std::all_of(before.begin(), before.end(), is_space)
               ? "this line is indented unlike the lines above it"
               : "this does not belong to the value before it; put it on a line of its own, or put "
                 "quotes around the whole text";
  }
  if (message == YAML::ErrorMsg::UNKNOWN_TOKEN)
    return "a value cannot begin with this character; put quotes around the text";
  if (message == YAML::ErrorMsg::FLOW_END) return "a closing bracket without an opening one";
  if (message == YAML::ErrorMsg::BLOCK_ENTRY) return "a '- ' where no list can begin";
  if (message == YAML::ErrorMsg::EOF_IN_SCALAR) return "a quote is never closed";
  if (message == YAML::ErrorMsg::UNKNOWN_ANCHOR) return "an alias without an anchor of that name";
  return message;
}

// "model", "width 64" or "width = 64" where a key should stand.
void refuse_missing_colon(const Source& source, size_t line) {
  const std::string_view whole = source.line_text(line);
  const std::string_view text = whole.substr(0, whole.find(" #"));
  const auto skip = [&](const char* letters, size_t from) {
    return std::min(text.find_first_not_of(letters, from), text.size());
  };
  const size_t begin = skip(" ", 0);
  size_t end = begin;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) ||
                               text[end] == '_' || text[end] == '-'))
    ++end;
  if (begin == end || !std::isalpha(static_cast<unsigned char>(text[begin]))) return;
  const size_t rest = skip(" \t\r=", end);
  if (text.find(':') != std::string_view::npos) return;
  if (skip(" \t\r", end) == text.size())
    throw ConfigError(source.place(line, end), "not valid YAML: a ':' is missing here");
  if (rest == end || rest == text.size()) return;
  const size_t last = text.find_last_not_of(" \t\r") + 1;
  throw ConfigError(source.place(line, begin),
                    "not valid YAML: this line has no ':'; write " +
                        std::string(text.substr(begin, end - begin)) + ": " +
                        shortened(std::string(text.substr(rest, last - rest))));
}

// A mistake in the last line before `line` that holds more than a comment: the commonest reasons
// why the line after it makes no sense.
void refuse_incomplete_line(const Source& source, size_t line) {
  while (line-- > 0) {
    const std::string_view text = source.line_text(line);
    const size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos || text[begin] == '#') continue;
    refuse_missing_colon(source, line);
    const size_t colon = text.find(':');
    const size_t end = text.find_last_not_of(" \t\r") + 1;
    if (colon != std::string::npos && colon + 1 < end && !is_space(text[colon + 1])) {
      throw ConfigError(source.place(line, colon),
                        "not valid YAML: a space is missing after this ':'");
    }
    return;
  }
}

[[noreturn]] void rethrow(const YAML::ParserException& failure, const Source& source,
                          const TreeBuilder& builder) {
  const auto line = static_cast<size_t>(std::max(failure.mark.line, 0));
  const std::string_view text = source.line_text(line);
  const size_t tab = text.find('\t');
  if (tab != std::string::npos && tab <= text.find_first_not_of(" \t")) {
    throw ConfigError(source.place(line, tab),
                      "not valid YAML: a tab in the indentation; write spaces");
  }
  const bool after_map = failure.msg == YAML::ErrorMsg::END_OF_MAP;
  if (after_map) refuse_missing_colon(source, line);
  if (after_map || failure.msg == YAML::ErrorMsg::MAP_VALUE) refuse_incomplete_line(source, line);
  const auto column = static_cast<size_t>(std::max(failure.mark.column, 0));
  throw ConfigError(source.place(failure.mark),
                    "not valid YAML: " +
                        explanation(failure.msg, text.substr(0, column), builder.open_bracket()));
}

// Length of the UTF-8 character at `at`; 0 when there is none.
size_t character_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool surrogate = first == 0xED && byte(1) >= 0xA0;
  const bool beyond = first == 0xF4 && byte(1) >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

}  // namespace

void check_text(const std::string& text, const std::string& name) {
  if (text.size() > kLargestFile) {
    throw ConfigError({name, 0, 0},
                      "larger than " + std::to_string(kLargestFile >> 20) +
                          " MiB, so this is no recipe; a recipe is a short YAML text");
  }
  if (text.rfind("\xFF\xFE", 0) == 0 || text.rfind("\xFE\xFF", 0) == 0)
    throw ConfigError({name, 0, 0}, "is UTF-16 text; save it as UTF-8");
  const Source source(text, name);
  size_t line = 0, begin = 0;
  for (size_t i = 0; i < text.size();) {
    const auto letter = static_cast<unsigned char>(text[i]);
    if (letter == 0x7F || (letter < 0x20 && letter != '\t' && letter != '\n' && letter != '\r')) {
      throw ConfigError(source.place(line, i - begin),
                        "a control character, so this is no text file; a recipe is YAML text");
    }
    const size_t length = character_length(text, i);
    if (length == 0)
      throw ConfigError(source.place(line, i - begin), "not UTF-8 text; save the file as UTF-8");
    i += length;
    if (letter == '\n') {
      ++line;
      begin = i;
    }
  }
}

Node parse_yaml(const std::string& text, const std::string& name, const std::string& folder) {
  check_text(text, name);
  const std::string bare = text.rfind("\xEF\xBB\xBF", 0) == 0 ? text.substr(3) : text;
  const Source source(bare, name);
  TreeBuilder builder(source, folder);
  try {
    std::istringstream stream(bare);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::ParserException& failure) {
    rethrow(failure, source, builder);
  }
  Node tree = builder.take();
  if (tree.where.file.empty()) {  // no document at all
    tree.where = {name, 0, 0};
    tree.folder = folder;
    tree.blank = true;
  }
  return tree;
}

}  // namespace echo
