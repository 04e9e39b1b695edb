#pragma once

#include <cstdint>

namespace echo {

struct SchedulePlace {
  int64_t steps = 0;  // of the whole run
};

// A factor in [0, 1] of the peak learning rate; a pure function of the step (from 1).
class Schedule {
 public:
  virtual ~Schedule() = default;
  virtual double factor(int64_t step) const = 0;
};

}  // namespace echo
