#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/nested.h"
#include "framework/src/testing/checks.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>

// What a mixer says of itself: its fields, and its floating-point operations.
namespace echo::testing {

namespace {

constexpr int64_t kUsualWidth = 1024;  // that default sizes should fit

// A kind alone in a registry, with those that its options hold: what reading a recipe needs.
struct Alone {
  Kinds<Mixer, Place> kinds;
  std::string name;

  Alone(const MixerKind& kind, const Options& options) : name(kind.name) {
    kinds.insert(kind);
    for (const MixerChoice& inner : nested_mixers(options)) {
      if (!kinds.find(inner.kind.name)) kinds.insert(inner.kind);
    }
  }

  KindChoice read(const Node& fields) const {
    NestedMixers nested(kinds);
    return read_kind(kinds, fields, "mixer", "mixer", nested, name);
  }
};

void expect_described(const std::vector<Field>& fields) {
  std::set<std::string> names;
  for (const Field& field : fields) {
    if (!names.insert(field.name).second)
      throw Failure("the field '" + field.name + "' is declared twice");
    if (field.help.empty()) throw Failure("the field '" + field.name + "' has no help");
  }
}

// Builds on the meta device, or is refused with the name of a field.
void expect_built_or_refused(const MixerKind& kind, const Options& options, const Place& place,
                             const std::string& what) {
  try {
    const std::unique_ptr<Options> completed = options.clone();
    kind.complete(*completed, place);
    kind.make(*completed, place);
  } catch (const FieldError&) {
  } catch (const std::exception& failure) {
    throw Failure(what + " is neither built nor refused by a FieldError: " + failure.what());
  }
}

// Every value of one field that is worth a try; each is set before `attempt` runs.
void each_edge(const Field& field, const std::function<void(const std::string&)>& attempt) {
  const bool low = std::isfinite(field.range.low) && !field.range.low_open;
  if (auto* const* number = std::get_if<int64_t*>(&field.target)) {
    if (!low) return;
    **number = static_cast<int64_t>(field.range.low);
    attempt(field.name + " " + std::to_string(**number));
  } else if (auto* const* flag = std::get_if<bool*>(&field.target)) {
    **flag = !**flag;
    attempt(field.name + (**flag ? " true" : " false"));
  } else if (const Choice* choice = std::get_if<Choice>(&field.target)) {
    for (size_t i = 0; i < choice->words.size(); ++i) {
      choice->set(i);
      attempt(field.name + " " + choice->words[i]);
    }
  }
}

void expect_edges(const MixerKind& kind, const Options& tested, const Place& place) {
  const size_t count = fields_of(*tested.clone()).size();
  for (size_t i = 0; i < count; ++i) {
    const std::unique_ptr<Options> options = tested.clone();
    const std::vector<Field> fields = fields_of(*options);
    each_edge(fields.at(i), [&](const std::string& what) {
      expect_built_or_refused(kind, *options, place, what);
    });
  }
}

void expect_defaults(const MixerKind& kind) {
  const Place place{.width = kUsualWidth, .options = at::TensorOptions().device(at::kMeta)};
  const std::unique_ptr<Options> options = kind.options();
  // Which mixers another one holds has no default.
  for (const Field& field : fields_of(*options)) {
    if (std::holds_alternative<std::vector<MixerChoice>*>(field.target)) return;
  }
  try {
    kind.complete(*options, place);
    kind.make(*options, place);
  } catch (const std::exception& failure) {
    throw Failure("the defaults build no mixer of width " + std::to_string(kUsualWidth) + ": " +
                  failure.what());
  }
}

// Written out and read again, the options are the same.
void expect_round_trip(const MixerKind& kind, const Options& options) {
  const Alone alone(kind, options);
  KindChoice choice;
  choice.kind = kind.name;
  choice.options = options.clone();
  const Node written = write_kind(choice);
  Node again;
  try {
    again = write_kind(alone.read(written));
  } catch (const ConfigError& refused) {
    throw Failure(std::string("the options as they are written out are refused: ") +
                  refused.what());
  }
  if (to_json(written) != to_json(again))
    throw Failure("the options change when they are written out and read: " +
                  to_json(written).dump() + ", then " + to_json(again).dump());
}

// Floating-point operations of the matrix products that ran in this thread.
thread_local double products = 0;

std::vector<int64_t> sizes_of(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() ? value.toTensor().sizes().vec()
                                                        : std::vector<int64_t>();
}

// Left (..., rows, inner) times right (..., inner, columns).
void add_product(const std::vector<int64_t>& left, const std::vector<int64_t>& right) {
  if (left.size() < 2 || right.size() < 2) return;
  double count = 2 * static_cast<double>(right.back());
  for (const int64_t size : left) count *= static_cast<double>(size);
  products += count;
}

std::unique_ptr<at::ObserverContext> observe(const at::RecordFunction& function) {
  static const std::set<std::string> kPlain = {"aten::mm", "aten::bmm"};
  static const std::set<std::string> kAdded = {"aten::addmm", "aten::baddbmm", "aten::baddbmm_",
                                               "aten::addmm_"};
  const std::string name = function.name();
  const c10::ArrayRef<const c10::IValue> inputs = function.inputs();
  if (kPlain.count(name)) add_product(sizes_of(inputs[0]), sizes_of(inputs[1]));
  if (kAdded.count(name)) add_product(sizes_of(inputs[1]), sizes_of(inputs[2]));
  if (name == "aten::_scaled_dot_product_flash_attention_for_cpu") {
    const double all = 4 * static_cast<double>(inputs[0].toTensor().numel());
    const bool causal = inputs[4].toBool();  // half of the scores are never formed
    products += all * static_cast<double>(inputs[1].toTensor().size(2)) / (causal ? 2 : 1);
  }
  return nullptr;
}

double count_products(const std::function<void()>& work) {
  products = 0;
  const at::CallbackHandle handle =
      at::addThreadLocalCallback(at::RecordFunctionCallback(observe).needsInputs(true));
  try {
    work();
  } catch (...) {
    at::removeCallback(handle);
    throw;
  }
  at::removeCallback(handle);
  return products;
}

std::string short_number(double value) {
  std::ostringstream text;
  text.precision(3);
  text << value;
  return text.str();
}

}  // namespace

std::string check_fields(const Subject& subject) {
  const Place place{.width = subject.settings().width,
                    .options = at::TensorOptions().device(at::kMeta)};
  const std::unique_ptr<Options> options = subject.options().clone();
  const std::vector<Field> fields = fields_of(*options);
  expect_described(fields);
  expect_defaults(subject.kind());
  expect_round_trip(subject.kind(), subject.options());
  expect_edges(subject.kind(), subject.options(), place);
  return std::to_string(fields.size()) + (fields.size() == 1 ? " field" : " fields");
}

std::string check_flops(const Subject& subject) {
  constexpr int64_t kLength = 256;
  constexpr double kFactor = 1.5;
  const std::unique_ptr<Mixer> mixer = subject.instance(at::kFloat);
  const at::Tensor x = subject.input("flops", 1, kLength, at::kFloat);
  const c10::NoGradGuard no_gradients;
  const double seen = count_products([&] { run(*mixer, x, {.stateless = true}); });
  const auto stated = static_cast<double>(mixer->flops(1, kLength));
  const std::string text = "states " + short_number(stated) + ", its matrix products are " +
                           short_number(seen) + " (" + std::to_string(kLength) + " tokens)";
  if (seen > 0 && (stated > kFactor * seen || seen > kFactor * stated)) throw Failure(text);
  return text;
}

}  // namespace echo::testing
