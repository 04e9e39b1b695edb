#pragma once

#include <echo/module.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// Rows of a stored tensor that make up one parameter, in its order.
struct Part {
  std::string parameter;      // "blocks.0.0.mixer.q_proj.weight"
  std::vector<int64_t> rows;  // empty: all of them
};

// A stored tensor and the parameters that are made of it, readable in both directions:
// parameter = rows of (factor * row_factors * stored + offset).
struct Link {
  std::string stored;  // its name in the file
  std::vector<Part> parts;
  double factor = 1;
  std::vector<double> row_factors;   // besides, one for each row of the stored tensor, or none
  double offset = 0;                 // 1: a norm that is stored around zero
  std::vector<int64_t> shape;        // of the stored tensor, where it is not the parameter's
  std::vector<std::string> aliases;  // other names that files use
  std::vector<std::string> pieces;   // or tensors whose rows, joined, are this one
};

// What a config.json asks for, in Echo's terms.
struct Blueprint {
  nlohmann::ordered_json model;  // the section `model` of a recipe
  std::vector<Link> links;
  // Where the head is tied: the stored head, if there is one, must equal the embedding.
  std::string tied_head, embedding;
  // Ends of the names of stored tensors that are made from the config again.
  std::vector<std::string> derived;
};

// One tensor, one parameter.
Link same(const std::string& stored, const std::string& parameter);

// A model's parameters by name; they share its memory.
using Parameters = std::map<std::string, at::Tensor>;
Parameters parameters_of(const Module& model);

// Shape of the stored tensor, and both directions of a link.
std::vector<int64_t> stored_shape(const Link& link, const Parameters& parameters);
void fill(const Link& link, at::Tensor stored, const Parameters& parameters);
at::Tensor stored_value(const Link& link, const Parameters& parameters);

// first, first + 1, ..., `count` of them. Throws ConfigError for more than any layer has.
std::vector<int64_t> row_range(int64_t first, int64_t count);

}  // namespace echo
