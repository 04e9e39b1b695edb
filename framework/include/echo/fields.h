#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace echo {

// Numbers that a field allows: [low, high], without an end that is marked open.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  bool contains(double value) const;
  std::string text()
      const;  // "at least 1", "between 0 and 1", "above 0"; empty when everything is allowed
};

inline Range at_least(double low) { return {.low = low}; }
inline Range above(double low) { return {.low = low, .low_open = true}; }
inline Range between(double low, double high) { return {.low = low, .high = high}; }

// A field whose value is one of a few words.
struct Choice {
  std::vector<std::string> words;
  std::function<size_t()> get;
  std::function<void(size_t)> set;
};

class Fields;

// A field whose value is a map with fields of its own.
struct Section {
  std::function<void(Fields&)> visit;
};

// A field whose value is a list of such maps.
struct SectionList {
  std::function<size_t()> size;
  std::function<void(size_t)> resize;  // new entries have their defaults
  std::function<void(size_t, Fields&)> visit;
};

struct MixerChoice;  // echo/members.h

using FieldTarget = std::variant<int64_t*, double*, bool*, std::string*, std::optional<int64_t>*,
                                 std::optional<double>*, std::vector<int64_t>*,
                                 std::vector<double>*, std::vector<std::string>*, Choice, Section,
                                 SectionList, std::vector<MixerChoice>*>;

struct Field {
  std::string name;
  std::string help;  // one line: meaning, unit; for an optional field what null means
  FieldTarget target;
  Range range;        // of each number
  bool path = false;  // files or folders, relative to the file that wrote them
};

// Kinds declare their options once, in a struct with defaults and
//
//     void visit(echo::Fields& fields) {
//       fields("heads", heads, "number of heads", at_least(1));
//       fields.choice("mode", mode, {{"exact", Mode::exact}, {"prefix", Mode::prefix}}, "which
//       tokens are read");
//     }
//
// That fills the struct from YAML, checks it, prints `echo mixers KIND`, writes the resolved recipe
// and the JSON schema. An optional struct member function `void complete(const Place&)` then fills
// derived defaults in (an optional value that stands for "width / heads") and throws FieldError for
// values that do not fit each other.
class Fields {
 public:
  virtual ~Fields() = default;

  template <class T>
  void operator()(const char* name, T& value, const char* help, Range range = {}) {
    visit(Field{name, help, FieldTarget(&value), range});
  }

  template <class E>
  void choice(const char* name, E& value, std::vector<std::pair<const char*, E>> words,
              const char* help) {
    Choice choice;
    for (const auto& word : words) choice.words.push_back(word.first);
    choice.get = [&value, words] {
      for (size_t i = 0; i < words.size(); ++i) {
        if (words[i].second == value) return i;
      }
      return size_t{0};
    };
    choice.set = [&value, words](size_t i) { value = words[i].second; };
    visit(Field{name, help, FieldTarget(std::move(choice)), {}});
  }

  // T: a string or a list of strings.
  template <class T>
  void path(const char* name, T& value, const char* help) {
    visit(Field{name, help, FieldTarget(&value), {}, true});
  }

  // T has a visit(Fields&) of its own.
  template <class T>
  void section(const char* name, T& value, const char* help) {
    visit(Field{name, help, Section{[&value](Fields& fields) { value.visit(fields); }}, {}});
  }

  template <class T>
  void sections(const char* name, std::vector<T>& values, const char* help) {
    SectionList list;
    list.size = [&values] { return values.size(); };
    list.resize = [&values](size_t size) { values.resize(size); };
    list.visit = [&values](size_t i, Fields& fields) { values[i].visit(fields); };
    visit(Field{name, help, std::move(list), {}});
  }

 protected:
  virtual void visit(const Field& field) = 0;
};

}  // namespace echo
