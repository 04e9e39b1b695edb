#pragma once

#include "framework/src/accounting/meter.h"

#include <cstdint>
#include <map>
#include <vector>

namespace echo {

// Bytes that a stretch of work holds: at most, and when it is over.
struct Extent {
  int64_t peak = 0;
  int64_t last = 0;
};

// What a stretch of work holds at any size, from traces at a few small ones. A size has several
// axes (batch, length, ..), and the traces stand on a full grid over them.
//
// Along an axis bytes are taken to grow as a straight line through the two largest sizes. Along an
// axis of four sizes or more they may grow as a parabola: when one through the three largest meets
// the smallest, and the line does not. Between measured sizes the nearest ones count.
//
// Where the traces have the same allocations in the same order, each of these is extrapolated by
// itself, and the peak is the largest of them: the peak of a small size may be at another moment
// than that of a large one. Otherwise (a loop over chunks) the peaks themselves are extrapolated.
class Cost {
 public:
  using Size = std::vector<int64_t>;

  void add(const Size& size, Trace trace) { traces_[size] = std::move(trace); }
  Extent at(const Size& size) const;

 private:
  using Weighted = std::vector<std::pair<const Trace*, double>>;
  using Quantity = int64_t (Trace::*)() const;

  std::vector<int64_t> points(size_t axis) const;  // rising
  bool curved(size_t axis, Quantity quantity) const;
  Weighted weighted(const Size& size, Quantity quantity) const;

  std::map<Size, Trace> traces_;
};

}  // namespace echo
