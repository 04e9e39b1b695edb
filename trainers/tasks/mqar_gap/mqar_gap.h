#pragma once

#include "trainers/tasks/shared/synthetic.h"

#include <echo/task.h>

#include <cstdint>
#include <string>

namespace echo {

struct MqarGapOptions {
  int64_t pairs = 4;
  int64_t gap = 64;
  SyntheticOptions synthetic;

  void visit(Fields& fields);
  void complete(const TaskPlace& place);  // throws FieldError for values that do not fit
};

// M pairs of a key and its value, a gap of filler, then every key once, in random order: the model
// must answer its value. See README.md.
class MqarGap final : public Task {
 public:
  MqarGap(const MqarGapOptions& options, const TaskPlace& place);

  TaskInfo info() const override;
  Batch batch(Split split, int64_t first, int64_t count) const override;
  std::string show(const Batch& batch, int64_t row) const override;

 private:
  Sample sample(Split split, int64_t index) const;

  MqarGapOptions options_;
  Alphabet alphabet_;
  uint64_t seed_;
};

}  // namespace echo
