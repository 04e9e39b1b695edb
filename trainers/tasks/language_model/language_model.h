#pragma once

#include "trainers/tasks/language_model/text.h"

#include <echo/fields.h>
#include <echo/task.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace echo {

struct LanguageModelOptions {
  std::string text;
  int64_t length = 256;
  double held_out = 0.1;
  std::optional<int64_t> context;
  int64_t validation_samples = 128;
  int64_t test_samples = 512;
  std::optional<int64_t> seed;

  void visit(Fields& fields);
  void complete(const TaskPlace& place);  // throws FieldError for values that do not fit
};

// Predicts the next byte of any text. The end of the text is held out; see README.md for how it is
// split and scored. After prepare() it may be used by several threads.
class LanguageModel final : public Task {
 public:
  LanguageModel(const LanguageModelOptions& options, const TaskPlace& place);

  void prepare() override;
  TaskInfo info() const override;
  std::string fingerprint() const override { return text_ ? text_->sha256() : ""; }
  Batch batch(Split split, int64_t first, int64_t count) const override;

  // "loss" (natural log, per byte), "bits_per_byte", and "share_scored": which part of the split's
  // bytes these stand for.
  Scores evaluate(Evaluator& model, Split split) const override;

  std::string show(const Batch& batch, int64_t row) const override;
  std::vector<int64_t> encode(const std::string& text) const override;
  std::string decode(const std::vector<int64_t>& tokens) const override;

 private:
  // Bytes [begin, end) of the text.
  struct Part {
    int64_t begin = 0;
    int64_t end = 0;
    int64_t size() const { return end - begin; }
  };
  // A sample: `length` bytes from `begin` on, each labelled with the next one, but for the first
  // `context`.
  struct Window {
    int64_t begin = 0;
    int64_t context = 0;
  };

  void divide(int64_t size);
  int64_t bytes_needed() const;
  const Part& part(Split split) const;
  int64_t stride() const {
    return options_.length - options_.context.value_or(options_.length / 2);
  }
  int64_t windows_per_epoch() const;
  int64_t windows(Split split) const;         // that cover the split
  int64_t scored_windows(Split split) const;  // of these, as many as are scored
  Window train_window(int64_t index) const;
  Window held_out_window(Split split, int64_t index) const;

  LanguageModelOptions options_;
  uint64_t seed_;
  std::unique_ptr<Text> text_;
  Part train_, validation_, test_;
};

}  // namespace echo
