#include "framework/src/import/blueprint.h"

#include "framework/src/import/config.h"

#include <echo/error.h>

#include <numeric>

#include <ATen/ATen.h>

namespace echo {

Link same(const std::string& stored, const std::string& parameter) {
  Link link;
  link.stored = stored;
  link.parts = {{parameter, {}}};
  return link;
}

std::vector<int64_t> row_range(int64_t first, int64_t count) {
  if (count > Config::kLargestCount) {
    throw ConfigError("config.json asks for a layer of " + std::to_string(count) +
                      " rows; allowed: at most " + std::to_string(Config::kLargestCount));
  }
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

Parameters parameters_of(const Module& model) {
  Parameters parameters;
  for (const Parameter& parameter : model.parameters())
    parameters.emplace(parameter.name, parameter.value());
  return parameters;
}

namespace {

// As it would be with the parameters' shapes behind the rows.
std::vector<int64_t> natural_shape(const Link& link, const Parameters& parameters) {
  std::vector<int64_t> shape = parameters.at(link.parts.front().parameter).sizes().vec();
  if (link.parts.front().rows.empty()) return shape;
  shape.front() = 0;
  for (const Part& part : link.parts) shape.front() += static_cast<int64_t>(part.rows.size());
  return shape;
}

// (rows, 1, ...) for a tensor of `dim` dimensions.
at::Tensor row_factors(const Link& link, int64_t dim) {
  std::vector<int64_t> shape(static_cast<size_t>(dim), 1);
  shape.front() = static_cast<int64_t>(link.row_factors.size());
  return at::tensor(link.row_factors, at::kFloat).view(shape);
}

}  // namespace

std::vector<int64_t> stored_shape(const Link& link, const Parameters& parameters) {
  return link.shape.empty() ? natural_shape(link, parameters) : link.shape;
}

void fill(const Link& link, at::Tensor stored, const Parameters& parameters) {
  at::Tensor value = stored.view(natural_shape(link, parameters));
  if (link.factor != 1) value = value * link.factor;
  if (!link.row_factors.empty()) value = value * row_factors(link, value.dim());
  if (link.offset != 0) value = value + link.offset;
  for (const Part& part : link.parts) {
    const at::Tensor rows =
        part.rows.empty() ? value : value.index_select(0, at::tensor(part.rows, at::kLong));
    parameters.at(part.parameter).copy_(rows);
  }
}

at::Tensor stored_value(const Link& link, const Parameters& parameters) {
  at::Tensor value = parameters.at(link.parts.front().parameter).to(at::kCPU);
  if (!link.parts.front().rows.empty()) {
    value = at::empty(natural_shape(link, parameters), value.options());
    for (const Part& part : link.parts) {
      value.index_copy_(0, at::tensor(part.rows, at::kLong),
                        parameters.at(part.parameter).to(at::kCPU));
    }
  }
  if (link.offset != 0) value = value - link.offset;
  if (link.factor != 1) value = value / link.factor;
  if (!link.row_factors.empty()) value = value / row_factors(link, value.dim());
  return value.reshape(stored_shape(link, parameters));
}

}  // namespace echo
