#pragma once

#include "mixers/ska/exact.h"
#include "mixers/ska/tokens.h"

#include <echo/stretch.h>

#include <functional>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// What the parts of a sequence before this one leave, where ranks hold the parts: the statistics
// without the ridge, and the last key. Statistics add, so each part sends its own sums, its first
// and last key and, with value_lag, its first value; the pair of a last and a first key is made by
// who adds up. One exchange of 2 R^2 + P R + 2 R numbers per head (power 0: R^2 + P R), and P more
// with value_lag.
struct Earlier {
  Statistics statistics;
  at::Tensor last;  // (B, H, R); undefined where no pairs are read
};

// Sends this part's sums; what it returns waits for the others', and is called once.
std::function<Earlier()> earlier_parts(const Features& features, const Reading& reading,
                                       Stretch& stretch);

}  // namespace echo::ska
