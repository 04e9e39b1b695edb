#pragma once

#include <echo/fields.h>
#include <echo/schedule.h>

namespace echo {

struct ConstantOptions {
  int64_t warmup = 0;

  void visit(Fields& fields);
};

// Rises linearly to 1 at step `warmup` and stays there.
class Constant final : public Schedule {
 public:
  Constant(const ConstantOptions& options, const SchedulePlace& place);
  double factor(int64_t step) const override;

 private:
  ConstantOptions options_;
};

}  // namespace echo
