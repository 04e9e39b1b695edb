#pragma once

#include <echo/module.h>

#include <cstdint>
#include <vector>

namespace echo {

// Parameters whose gradients travel together, as indices. The backward pass goes from the last
// parameter to the first, and so do buckets; rows of one matrix stay together. A pure function of
// the shapes, so that all ranks agree.
using Buckets = std::vector<std::vector<size_t>>;
Buckets gradient_buckets(const std::vector<Parameter>& parameters);

// Elements that a parameter takes in its bucket: its own, and one that counts the ranks that had a
// gradient.
int64_t bucket_elements(const Parameter& parameter);

}  // namespace echo
