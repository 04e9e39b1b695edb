#pragma once

#include <echo/fields.h>
#include <echo/schedule.h>

#include <optional>

namespace echo {

enum class DecayShape { linear, root };

struct WarmupStableDecayOptions {
  int64_t warmup = 0;
  std::optional<int64_t> decay;
  double final_fraction = 0;
  DecayShape shape = DecayShape::linear;

  void visit(Fields& fields);
  void complete(const SchedulePlace& place);
};

// Rises linearly to 1 at step `warmup`, stays there, and over the last `decay` steps falls to
// final_fraction: linearly, or as 1 - sqrt(progress) (Haegele et al., arXiv 2405.18392). Where
// warm-up and decay overlap, the lower of the two counts.
class WarmupStableDecay final : public Schedule {
 public:
  WarmupStableDecay(const WarmupStableDecayOptions& options, const SchedulePlace& place);
  double factor(int64_t step) const override;

 private:
  WarmupStableDecayOptions options_;
  int64_t steps_;
};

}  // namespace echo
