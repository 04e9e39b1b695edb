#include "mixers/check/shared_parameters.h"

#include <echo/error.h>

#include <map>
#include <sstream>

#include <ATen/ATen.h>

namespace echo {

namespace {

using ByName = std::map<std::string, Parameter>;

ByName by_name(const Module& module) {
  ByName parameters;
  for (Parameter& parameter : module.parameters()) {
    const std::string name = parameter.name;
    parameters.emplace(name, std::move(parameter));
  }
  return parameters;
}

std::string shape_of(const Parameter& parameter) {
  std::ostringstream text;
  text << parameter.value().sizes();
  return text.str();
}

void expect_same(const ByName& from, const ByName& to, const std::string& field) {
  const std::string rule =
      "; both mixers must have the same parameters, as two options of one kind have";
  for (const auto& [name, parameter] : to) {
    const auto other = from.find(name);
    if (other == from.end())
      throw FieldError(field, "has a parameter '" + name + "', which the first has not" + rule);
    if (other->second.value().sizes() != parameter.value().sizes()) {
      throw FieldError(field, "its parameter '" + name + "' has the shape " + shape_of(parameter) +
                                  ", that of the first " + shape_of(other->second) + rule);
    }
  }
  for (const auto& [name, parameter] : from) {
    if (to.count(name) == 0)
      throw FieldError(field, "lacks a parameter '" + name + "', which the first has" + rule);
  }
}

using Leaf = const c10::TensorImpl*;

Leaf leaf_of(const Parameter& parameter) { return parameter.storage.unsafeGetTensorImpl(); }

// Whether the parameters of one leaf lie in one leaf of the others in the same way.
bool same_layout(const std::vector<const Parameter*>& leaf, const ByName& from) {
  const Parameter& first = from.at(leaf[0]->name);
  for (const Parameter* parameter : leaf) {
    const Parameter& other = from.at(parameter->name);
    if (leaf_of(other) != leaf_of(first) || other.first_row != parameter->first_row ||
        other.rows != parameter->rows)
      return false;
  }
  return first.storage.sizes() == leaf[0]->storage.sizes();
}

}  // namespace

SharedParameters::SharedParameters(const Module& from, const Module& to, const std::string& field) {
  const ByName sources = by_name(from);
  const ByName targets = by_name(to);
  expect_same(sources, targets, field);
  std::map<Leaf, std::vector<const Parameter*>> leaves;
  for (const auto& [name, parameter] : targets) leaves[leaf_of(parameter)].push_back(&parameter);
  for (const auto& [leaf, parameters] : leaves) {
    if (same_layout(parameters, sources)) {
      parameters[0]->storage.set_data(sources.at(parameters[0]->name).storage);
      continue;
    }
    for (const Parameter* parameter : parameters)
      copies_.push_back({sources.at(parameter->name), *parameter});
  }
}

void SharedParameters::refresh() const {
  for (const Copy& copy : copies_) {
    // Apart from the version that a graph remembers: what it has saved gets the same numbers again.
    const at::Tensor whole = copy.to.storage.variable_data();
    const at::Tensor rows =
        copy.to.rows < 0 ? whole : whole.narrow(0, copy.to.first_row, copy.to.rows);
    rows.copy_(copy.from.value());
  }
}

}  // namespace echo
