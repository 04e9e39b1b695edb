#pragma once

#include "framework/src/recipe/tree.h"

#include <echo/fields.h>
#include <echo/members.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace echo {

// The fields of anything that has visit(Fields&), pointing into it: what the functions below read
// and write, and what listings and the schema are made of.
class FieldCollector final : public Fields {
 public:
  std::vector<Field> fields;

 protected:
  void visit(const Field& field) override { fields.push_back(field); }
};

template <class T>
std::vector<Field> fields_of(T& value) {
  FieldCollector collector;
  value.visit(collector);
  return std::move(collector.fields);
}

std::vector<Field> fields_of(const Section& section);

// Where each field was written, by its name in the map; dotted inside sections ("train.0.pairs").
using Places = std::map<std::string, Location>;

// Reads an entry of a field that holds mixers. Places are by the names of the mixer's fields.
class MixerReader {
 public:
  virtual ~MixerReader() = default;
  virtual MixerChoice read(const Node& node, const std::string& path, Places& places) = 0;
};

// What read_fields needs to know of a map beside its fields.
struct MapReading {
  std::string path;                 // of the map, dotted, as messages show it; empty at the top
  std::string owner;                // the kind whose fields these are; empty for sections
  std::vector<std::string> others;  // keys that the caller reads itself
  MixerReader* mixers = nullptr;    // must be there where a field may hold mixers
};

// Fills fields from a map and checks them: unknown keys, types, ranges. Null is read as if the key
// had not been written, unless the field is optional. Throws ConfigError.
Places read_fields(const Node& map, const std::vector<Field>& fields, const MapReading& reading);

// The inverse: a map of every field with its present value.
Node write_fields(const std::vector<Field>& fields);

// "expected a map, found a list" unless it is one.
void expect_map(const Node& node, const std::string& path);
void expect_list(const Node& node, const std::string& path);

// The text of a scalar that names something: a kind, a template.
std::string read_word(const Node& node, const std::string& path, const std::string& expected);

// A positive whole number, as in `repeat: 2`.
int64_t read_integer(const Node& node, const std::string& path);

// The range as listings show it: without an upper end that only keeps absurd sizes out.
std::string plain_text(const Range& range);

// "model.mixers" + "recall" = "model.mixers.recall".
std::string join_path(const std::string& path, const std::string& name);

// The shortest text that every reader of YAML reads back to the same number.
std::string exact_number(double value);

}  // namespace echo
