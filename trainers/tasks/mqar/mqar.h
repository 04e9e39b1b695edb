#pragma once

#include "trainers/tasks/mqar/zoology.h"

#include <echo/fields.h>
#include <echo/task.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// One set of a data set of zoology's: all its rows have one shape.
struct MqarSegment {
  int64_t length = 64;
  int64_t pairs = 4;
  int64_t samples = 1000;

  void visit(Fields& fields);
};

struct MqarSegments {
  std::vector<MqarSegment> train;
  std::vector<MqarSegment> test;

  void visit(Fields& fields);
};

enum class MqarOrder { shuffled, zoology };

struct MqarOptions {
  int64_t vocabulary = 8192;
  int64_t samples = 0;
  int64_t length = 64;
  int64_t pairs = 4;
  double power = 0.01;
  std::optional<int64_t> seed;
  bool fill = true;
  MqarSegments segments;
  MqarOrder order = MqarOrder::shuffled;
  int64_t validation_samples = 512;
  int64_t test_samples = 1000;

  void visit(Fields& fields);
  void complete(const TaskPlace& place);  // throws FieldError for values that do not fit
};

// The rows of one shape in one split: a set that is drawn as a whole, when its first row is asked
// for, or a stream of rows that are drawn one by one. May be used by several threads.
class MqarPart {
 public:
  // The set of `samples` rows that zoology draws with `seed`.
  static std::unique_ptr<MqarPart> set(const MqarShape& shape, int64_t samples, uint32_t seed);

  // Row i is the set of one row whose seed belongs to (seed, split, i); `samples` 0 is without end.
  // The numbers of its rows start at `first`.
  static std::unique_ptr<MqarPart> stream(const MqarShape& shape, int64_t samples, uint64_t seed,
                                          Split split, int64_t first);

  const MqarShape& shape() const { return generator_.shape(); }
  int64_t samples() const { return samples_; }
  void write(int64_t row, int64_t* inputs, int64_t* labels) const;

 private:
  MqarPart(const MqarShape& shape, int64_t samples) : generator_(shape), samples_(samples) {}

  MqarGenerator generator_;
  int64_t samples_;
  bool is_set_ = false;
  uint64_t seed_ = 0;
  Split split_ = Split::train;
  int64_t first_ = 0;
  mutable std::once_flag drawn_;
  mutable MqarRows rows_;  // of a set, once drawn
};

// Multi-query associative recall of zoology: K pairs of a key and its value, then each key once
// more at a random place, where the model must answer its value. See README.md.
class Mqar final : public Task {
 public:
  Mqar(const MqarOptions& options, const TaskPlace& place);

  TaskInfo info() const override;
  Batch batch(Split split, int64_t first, int64_t count) const override;
  Scores evaluate(Evaluator& model, Split split) const override;
  std::string slice_name(int64_t slice) const override;
  std::string show(const Batch& batch, int64_t row) const override;

 private:
  using Parts = std::vector<std::unique_ptr<MqarPart>>;
  struct Row {
    const MqarPart* part = nullptr;
    int64_t row = -1;  // -1: an empty row, that fills the last batch of a segment up
  };

  void make_train();
  void make_test();
  void make_validation();
  MqarShape shape(int64_t length, int64_t pairs) const;
  const Parts& parts(Split split) const;
  Row train_row(int64_t index) const;
  Row find(Split split, int64_t index) const;
  int64_t slice(const MqarShape& shape) const;
  int64_t batches(const MqarPart& part) const;

  MqarOptions options_;
  TaskPlace place_;
  uint64_t seed_;
  std::vector<uint32_t> segment_seeds_;  // of the train segments, then of the test segments
  Parts train_, validation_, test_;
  std::vector<MqarShape> shapes_;  // the distinct ones, by slice
};

}  // namespace echo
