#include "framework/src/recipe/values.h"

#include "framework/src/text/near.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>

namespace echo {

namespace {

constexpr size_t kLongestSectionList = 65536;

[[noreturn]] void expected(const Node& node, const std::string& path, const std::string& what) {
  std::string message = "expected " + what + ", found " + node.found();
  if (node.blank) message += "; write a value, or remove the key";
  if (node.is_scalar() && node.quoted && what.find("text") == std::string::npos)
    message += node.block ? "; write it on the line of its key" : "; remove the quotes";
  throw ConfigError(node.where, path + ": " + message);
}

// The whole of a text as an integer of 64 bits; false when it is none.
bool parse_integer(std::string_view text, int64_t& value, int base) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value, base);
  return result.ec == std::errc() && result.ptr == end;
}

// Numbers as YAML writes them, but for infinity and NaN, which no field allows. One that does not
// fit becomes infinite.
bool parse_number(const std::string& text, double& value) {
  std::string_view digits = text;
  if (!digits.empty() && digits[0] == '+') digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos)
    return false;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value);
  if (result.ec == std::errc::result_out_of_range) value = std::numeric_limits<double>::infinity();
  return result.ec != std::errc::invalid_argument && result.ptr == end;
}

bool is_infinite_or_nan(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  text.erase(std::remove_if(text.begin(), text.end(),
                            [](char c) { return c == '.' || c == '+' || c == '-'; }),
             text.end());
  return text == "inf" || text == "infinity" || text == "nan";
}

// "an integer (at least 1)".
std::string with_range(const std::string& what, const Range& range) {
  const std::string text = plain_text(range);
  return text.empty() ? what : what + " (" + text + ")";
}

[[noreturn]] void out_of_range(const Node& node, const std::string& path, double value,
                               const Range& range) {
  const std::string allowed = value > range.high ? range.text() : plain_text(range);
  throw ConfigError(node.where,
                    path + ": " + shortened(node.text) + " is out of range; allowed: " + allowed);
}

// Numbers become float32, which has an end on both sides.
void refuse_beyond_float32(const Node& node, const std::string& path, double value) {
  using Float = std::numeric_limits<float>;
  const double size = std::abs(value);
  if (size == 0 || (size >= Float::denorm_min() && size <= Float::max())) return;
  throw ConfigError(node.where, path + ": " + shortened(node.text) +
                                    " does not fit into float32; allowed: 0, and sizes from "
                                    "1.4e-45 to 3.4e38");
}

double read_number(const Node& node, const std::string& path, const Range& range) {
  double value = 0;
  if (node.is_scalar() && is_infinite_or_nan(node.text))
    expected(node, path, with_range("a finite number", range));
  if (!node.is_scalar() || node.quoted || !parse_number(node.text, value))
    expected(node, path, with_range("a number", range));
  if (!range.contains(value)) out_of_range(node, path, value, range);
  refuse_beyond_float32(node, path, value);
  return value;
}

int64_t read_integer(const Node& node, const std::string& path, const Range& range) {
  if (!node.is_scalar() || node.quoted) expected(node, path, with_range("an integer", range));
  const std::string& text = node.text;
  int64_t value = 0;
  double number = 0;
  std::string_view digits = text;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  const bool whole = digits.substr(0, 2) == "0x" ? parse_integer(digits.substr(2), value, 16)
                                                 : parse_integer(digits, value, 10);
  if (!whole) {
    constexpr double kExact = 9007199254740992.0;  // 2^53: beyond, 1e3 notation may lose digits
    const bool is_number = parse_number(text, number);
    if (is_number && std::trunc(number) == number && !range.contains(number))
      out_of_range(node, path, number, range);
    const bool only_digits = digits.find_first_not_of("0123456789-") == std::string_view::npos;
    if (is_number && std::trunc(number) == number && (only_digits || std::abs(number) > kExact)) {
      throw ConfigError(node.where,
                        path + ": " + shortened(text) + " does not fit into 64 bits; allowed: " +
                            (range.text().empty() ? "up to 9223372036854775807" : range.text()));
    }
    if (!is_number || std::trunc(number) != number)
      expected(node, path, with_range("an integer", range));
    value = static_cast<int64_t>(number);
  }
  const auto number_value = static_cast<double>(value);
  if (!range.contains(number_value)) out_of_range(node, path, number_value, range);
  return value;
}

bool read_bool(const Node& node, const std::string& path) {
  if (node.is_scalar() && !node.quoted) {
    for (const char* word : {"true", "True", "TRUE"}) {
      if (node.text == word) return true;
    }
    for (const char* word : {"false", "False", "FALSE"}) {
      if (node.text == word) return false;
    }
  }
  expected(node, path, "true or false");
}

// Numbers and words are text too: `name: 2024`.
std::string read_string(const Node& node, const std::string& path, bool is_path) {
  if (!node.is_scalar()) expected(node, path, is_path ? "a path (text)" : "text");
  if (!is_path || node.text.empty()) return node.text;
  return (std::filesystem::path(node.folder) / node.text).lexically_normal().string();
}

size_t read_choice(const Node& node, const std::string& path, const Choice& choice) {
  const std::string allowed = "one of " + join(choice.words);
  if (!node.is_scalar()) expected(node, path, allowed);
  const auto found = std::find(choice.words.begin(), choice.words.end(), node.text);
  if (found == choice.words.end()) {
    throw ConfigError(node.where, path + ": expected " + allowed + ", found " + node.found() +
                                      did_you_mean(node.text, choice.words));
  }
  return static_cast<size_t>(found - choice.words.begin());
}

bool is_optional(const Field& field) {
  return std::holds_alternative<std::optional<int64_t>*>(field.target) ||
         std::holds_alternative<std::optional<double>*>(field.target);
}

void add_places(Places& places, const std::string& prefix, const Places& more) {
  for (const auto& [name, where] : more) places[prefix + "." + name] = where;
}

// Reads one field from its value.
class FieldReader {
 public:
  FieldReader(const Field& field, const Node& node, const MapReading& map, Places& places)
      : field_(field),
        node_(node),
        path_(join_path(map.path, field.name)),
        mixers_(map.mixers),
        places_(places) {}

  void operator()(int64_t* value) const { *value = read_integer(node_, path_, field_.range); }
  void operator()(double* value) const { *value = read_number(node_, path_, field_.range); }
  void operator()(bool* value) const { *value = read_bool(node_, path_); }
  void operator()(std::string* value) const { *value = read_string(node_, path_, field_.path); }

  void operator()(std::optional<int64_t>* value) const {
    *value = is_none() ? std::nullopt : std::optional(read_integer(node_, path_, field_.range));
  }
  void operator()(std::optional<double>* value) const {
    *value = is_none() ? std::nullopt : std::optional(read_number(node_, path_, field_.range));
  }

  void operator()(std::vector<int64_t>* values) const {
    read_items(*values, "a list of integers", [this](const Node& item, const std::string& path) {
      return read_integer(item, path, field_.range);
    });
  }
  void operator()(std::vector<double>* values) const {
    // null: no end, where the range has none.
    const double infinity = std::numeric_limits<double>::infinity();
    read_items(*values, "a list of numbers", [&](const Node& item, const std::string& path) {
      const bool endless = item.is_null() && !item.blank && field_.range.high == infinity;
      return endless ? infinity : read_number(item, path, field_.range);
    });
  }
  void operator()(std::vector<std::string>* values) const {
    const std::string what = field_.path ? "a list of paths (text)" : "a list of texts";
    read_items(*values, what, [this](const Node& item, const std::string& path) {
      return read_string(item, path, field_.path);
    });
  }

  void operator()(const Choice& choice) const { choice.set(read_choice(node_, path_, choice)); }

  void operator()(const Section& section) const {
    const std::vector<Field> fields = fields_of(section);
    if (!node_.is_map()) expected(node_, path_, "a map, as in " + example(fields));
    add_places(places_, field_.name, read_fields(node_, fields, {path_, "", {}, mixers_}));
  }

  void operator()(const SectionList& list) const {
    expect_list(node_, path_);
    if (node_.items.size() > kLongestSectionList) {
      throw ConfigError(node_.where, path_ + ": a list of " + std::to_string(node_.items.size()) +
                                         "; allowed: at most " +
                                         std::to_string(kLongestSectionList));
    }
    list.resize(0);
    list.resize(node_.items.size());
    for (size_t i = 0; i < node_.items.size(); ++i) {
      const std::string path = join_path(path_, std::to_string(i));
      expect_map(node_.items[i], path);
      FieldCollector collector;
      list.visit(i, collector);
      const std::string name = field_.name + "." + std::to_string(i);
      places_[name] = node_.items[i].where;
      add_places(places_, name,
                 read_fields(node_.items[i], collector.fields, {path, "", {}, mixers_}));
    }
  }

  void operator()(std::vector<MixerChoice>* values) const {
    ECHO_CHECK(mixers_, "a field with mixers in a place that can hold none: " << path_);
    if (!node_.is_list()) expected(node_, path_, "a list of mixers");
    values->clear();
    for (size_t i = 0; i < node_.items.size(); ++i) {
      const std::string index = std::to_string(i);
      Places inner;
      values->push_back(mixers_->read(node_.items[i], join_path(path_, index), inner));
      const std::string name = join_path(field_.name, index);
      places_[name] = node_.items[i].where;
      add_places(places_, name, inner);
    }
  }

 private:
  bool is_none() const { return node_.is_null() && !node_.blank; }

  // {kind: layer_norm}: a word alone was probably meant as the kind, else as the first field.
  std::string example(const std::vector<Field>& fields) const {
    const bool word = node_.is_scalar() && !fields.empty() && fields[0].name == "kind";
    return "{" + fields.at(0).name + ": " + (word ? node_.text : "...") + "}";
  }

  template <class T, class Read>
  void read_items(std::vector<T>& values, const std::string& what, Read read) const {
    if (!node_.is_list()) expected(node_, path_, what);
    values.clear();
    for (size_t i = 0; i < node_.items.size(); ++i) {
      const std::string path = join_path(path_, std::to_string(i));
      places_[field_.name + "." + std::to_string(i)] = node_.items[i].where;
      values.push_back(read(node_.items[i], path));
    }
  }

  const Field& field_;
  const Node& node_;
  std::string path_;
  MixerReader* mixers_;
  Places& places_;
};

// "seed 0" or "seed = 0", which YAML takes for a key without a value.
void refuse_key_with_value(const Node::Entry& entry, const std::vector<std::string>& known,
                           const MapReading& reading) {
  const std::string name = entry.key.substr(0, entry.key.find_first_of(" ="));
  const size_t value = entry.key.find_first_not_of(" =", name.size());
  if (!entry.value.blank || value == std::string::npos) return;
  if (std::find(known.begin(), known.end(), name) == known.end()) return;
  throw ConfigError(entry.where, join_path(reading.path, name) + ": a ':' is missing; write " +
                                     name + ": " + shortened(entry.key.substr(value)));
}

void refuse_unknown_keys(const Node& map, const std::vector<Field>& fields,
                         const MapReading& reading) {
  std::vector<std::string> known = reading.others;
  for (const Field& field : fields) known.push_back(field.name);
  for (const Node::Entry& entry : map.entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    refuse_key_with_value(entry, known, reading);
    if (entry.key.find(':') != std::string::npos) {
      throw ConfigError(entry.where, join_path(reading.path, entry.key) +
                                         ": unknown key; is a space missing after the ':'?");
    }
    std::sort(known.begin(), known.end());
    const bool of_kind = !reading.owner.empty();
    throw ConfigError(entry.where,
                      join_path(reading.path, entry.key) + ": " +
                          (of_kind ? "'" + reading.owner + "' has no such field" : "unknown key") +
                          known_words(entry.key, of_kind ? "its fields" : "known keys", known));
  }
}

}  // namespace

std::vector<Field> fields_of(const Section& section) {
  FieldCollector collector;
  section.visit(collector);
  return std::move(collector.fields);
}

Places read_fields(const Node& map, const std::vector<Field>& fields, const MapReading& reading) {
  refuse_unknown_keys(map, fields, reading);
  Places places;
  for (const Field& field : fields) {
    const Node::Entry* entry = map.entry(field.name);
    if (!entry) continue;
    if (entry->value.is_null() && !entry->value.blank && !is_optional(field)) continue;
    places[field.name] = entry->value.where;
    std::visit(FieldReader(field, entry->value, reading, places), field.target);
  }
  return places;
}

void expect_map(const Node& node, const std::string& path) {
  if (!node.is_map()) expected(node, path, "a map {key: value, ...}");
}

void expect_list(const Node& node, const std::string& path) {
  if (!node.is_list()) expected(node, path, "a list [...]");
}

std::string read_word(const Node& node, const std::string& path, const std::string& what) {
  if (!node.is_scalar()) expected(node, path, what);
  return node.text;
}

int64_t read_integer(const Node& node, const std::string& path) {
  return read_integer(node, path, at_least(1));
}

std::string plain_text(const Range& range) {
  constexpr double kAbsurd = 1 << 20;
  Range plain = range;
  if (std::isfinite(range.low) && range.high >= kAbsurd) plain.high = Range().high;
  return plain.text();
}

std::string join_path(const std::string& path, const std::string& name) {
  if (path.empty() || name.empty()) return path + name;
  return path + "." + name;
}

}  // namespace echo
