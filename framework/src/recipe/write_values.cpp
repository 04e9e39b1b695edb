#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/values.h"

#include <charconv>
#include <cmath>

namespace echo {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

template <class T, class Write>
Node write_list(const std::vector<T>& values, Write write) {
  Node node;
  node.type = Node::Type::list;
  for (const T& value : values) node.items.push_back(write(value));
  return node;
}

Node write_integer(int64_t value) { return scalar(std::to_string(value)); }
Node write_number(double value) {
  return std::isinf(value) ? Node() : scalar(exact_number(value));  // null: no end
}

Node write_field(const Field& field) {
  return std::visit(
      Overloaded{
          [](const int64_t* value) { return write_integer(*value); },
          [](const double* value) { return write_number(*value); },
          [](const bool* value) { return scalar(*value ? "true" : "false"); },
          [](const std::string* value) { return quoted(*value); },
          [](const std::optional<int64_t>* value) {
            return *value ? write_integer(**value) : Node();
          },
          [](const std::optional<double>* value) {
            return *value ? write_number(**value) : Node();
          },
          [](const std::vector<int64_t>* values) { return write_list(*values, write_integer); },
          [](const std::vector<double>* values) { return write_list(*values, write_number); },
          [](const std::vector<std::string>* values) { return write_list(*values, quoted); },
          [](const Choice& choice) { return scalar(choice.words[choice.get()]); },
          [](const Section& section) { return write_fields(fields_of(section)); },
          [](const SectionList& list) {
            Node node;
            node.type = Node::Type::list;
            for (size_t i = 0; i < list.size(); ++i) {
              FieldCollector collector;
              list.visit(i, collector);
              node.items.push_back(write_fields(collector.fields));
            }
            return node;
          },
          [](const std::vector<MixerChoice>* mixers) {
            return write_list(*mixers, [](const MixerChoice& mixer) {
              return write_kind(mixer.kind.name, *mixer.options);
            });
          },
      },
      field.target);
}

}  // namespace

Node write_fields(const std::vector<Field>& fields) {
  Node node;
  node.type = Node::Type::map;
  for (const Field& field : fields) node.add(field.name, write_field(field));
  return node;
}

std::string exact_number(double value) {
  char text[32];
  constexpr double kLargestWhole = 1e15;
  const bool whole = std::trunc(value) == value && std::abs(value) < kLargestWhole;
  const auto result = whole ? std::to_chars(text, text + sizeof(text), static_cast<int64_t>(value))
                            : std::to_chars(text, text + sizeof(text), value);
  std::string number(text, result.ptr);
  // Readers of YAML 1.1, as Python's, take 1e-06 for text but 1.0e-06 for a number.
  const size_t exponent = number.find('e');
  if (exponent != std::string::npos && number.find('.') == std::string::npos)
    number.insert(exponent, ".0");
  return number;
}

}  // namespace echo
