#pragma once

#include <echo/fields.h>
#include <echo/schedule.h>

namespace echo {

struct CosineOptions {
  int64_t warmup = 0;
  double final_fraction = 0;

  void visit(Fields& fields);
};

// Rises linearly to 1 at step `warmup`, then falls along half a cosine to final_fraction at the
// last step. A run that is shorter than its warm-up ends while rising.
class Cosine final : public Schedule {
 public:
  Cosine(const CosineOptions& options, const SchedulePlace& place);
  double factor(int64_t step) const override;

 private:
  CosineOptions options_;
  int64_t steps_;
};

}  // namespace echo
