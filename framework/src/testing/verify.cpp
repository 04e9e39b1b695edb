#include "framework/src/testing/verify.h"

#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/nested.h"
#include "framework/src/text/near.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace echo::testing {

namespace {

const MixerKind& find_kind(const Golden& golden, const Registry& registry,
                           const std::string& asked) {
  const std::string& name = asked.empty() ? golden.kind : asked;
  if (const MixerKind* kind = registry.mixers.find(name)) return *kind;
  std::vector<std::string> known;
  for (const auto& [other, kind] : registry.mixers.all()) known.push_back(other);
  const std::string message = "unknown mixer '" + name + "'" +
                              known_words(name, "known mixers", known) +
                              "; kinds of a plugin need --plugin FILE";
  if (!asked.empty()) throw ConfigError("--mixer: " + message);
  throw mistake(golden, message + ", and --mixer runs the file through another kind");
}

std::unique_ptr<Options> read_options(const Golden& golden, const MixerKind& kind,
                                      const Registry& registry) {
  std::unique_ptr<Options> options = kind.options();
  NestedMixers nested(registry.mixers);
  read_fields(golden.options, fields_of(*options), {"options", kind.name, {}, &nested});
  try {
    kind.complete(*options, Place{.width = golden.width});
  } catch (const FieldError& error) {
    throw mistake(golden, "options." + error.field() + ": " + error.what());
  }
  return options;
}

// Puts the ratios of the two dtypes side by side.
void collect(Verification& verification, const GoldenRatios& ratios, at::ScalarType dtype) {
  const bool wide = dtype == at::kDouble;
  for (const Ratio& entry : ratios.ratios) {
    Comparison* row = nullptr;
    for (Comparison& other : verification.comparisons) {
      if (other.tensor == entry.tensor && other.way == entry.group) row = &other;
    }
    if (!row) {
      verification.comparisons.push_back({entry.tensor, entry.group, {}, {}, true, "", ""});
      row = &verification.comparisons.back();
    }
    (wide ? row->float64 : row->float32) = entry.ratio;
    if (entry.ratio <= entry.allowed) continue;
    row->passed = false;
    if (row->problem.empty() && !entry.problem.empty())
      row->problem = (wide ? "in float64 " : "in float32 ") + entry.problem;
    if (row->worst.empty() && entry.way != entry.group) row->worst = entry.way;
  }
}

}  // namespace

bool Verification::passed() const {
  return failure.empty() && std::all_of(comparisons.begin(), comparisons.end(),
                                        [](const Comparison& row) { return row.passed; });
}

namespace {

// Outputs, then what comes after them, states, gradients.
int rank_of(const Comparison& row) {
  if (row.tensor.rfind("d_", 0) == 0 || row.tensor == "dx") return 3;
  if (row.tensor.rfind("state.", 0) == 0) return 2;
  return row.tensor == "y_next" ? 1 : 0;
}

}  // namespace

Verification verify(const Golden& golden, const Registry& registry, const std::string& asked) {
  const MixerKind& kind = find_kind(golden, registry, asked);
  const std::unique_ptr<Options> options = read_options(golden, kind, registry);
  Verification verification;
  verification.kind = kind.name;
  verification.float64 = allowed_ratios(golden, at::kDouble);
  verification.float32 = allowed_ratios(golden, at::kFloat);
  std::set<std::string> notes;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    GoldenLayer layer(golden, kind, *options, dtype);
    try {
      const GoldenRatios ratios = run_golden(golden, layer);
      collect(verification, ratios, dtype);
      notes.insert(ratios.notes.begin(), ratios.notes.end());
    } catch (const ConfigError&) {
      throw;
    } catch (const std::exception& exception) {
      verification.failure = std::string(dtype == at::kDouble ? "float64" : "float32") +
                             ": the mixer threw: " + exception.what();
      break;
    }
    for (const std::string& name : layer.unused()) notes.insert(name + ": not used");
  }
  std::stable_sort(
      verification.comparisons.begin(), verification.comparisons.end(),
      [](const Comparison& a, const Comparison& b) { return rank_of(a) < rank_of(b); });
  verification.notes.assign(notes.begin(), notes.end());
  return verification;
}

}  // namespace echo::testing
