#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

enum class Split { train, validation, test };
const char* split_name(Split split);  // "train", "validation", "test"

// B samples of T tokens. The model's output at t is compared with labels[t]; -100 is not scored.
struct Batch {
  at::Tensor inputs;   // (B, T) int64
  at::Tensor labels;   // (B, T) int64
  at::Tensor starts;   // (B, T) bool: a document begins here; undefined: nowhere but at 0
  at::Tensor lengths;  // (B) int64: valid tokens; undefined: all
  at::Tensor prefix;   // (B, T) bool: before the first query; undefined: the task has none
  at::Tensor slice;    // (B) int64: group of the sample for reports by slice; undefined: none
};

struct TaskInfo {
  int64_t vocabulary = 0;
  int64_t length = 0;              // longest sample, tokens
  int64_t train_samples = 0;       // 0: fresh data without end
  int64_t validation_samples = 0;  // 0: the split does not exist
  int64_t test_samples = 0;
  bool prefix = false;   // batches have `prefix`
  bool starts = false;   // batches may have `starts`
  bool lengths = false;  // batches may have `lengths`
  bool text = false;     // encode() and decode() are for text, else for numbers
  std::string metric =
      "accuracy";  // the score that matters: "accuracy" (higher is better), "bits_per_byte" (lower)
  std::map<std::string, double> levels;  // chance levels, as "key-blind": 0.25
  std::string slice_by;  // what the names of slices say, as "length/pairs"; empty: no slices
};

// A score is a sum and a count, so that scores add over batches and ranks.
struct Score {
  double sum = 0;
  double count = 0;
  double mean() const { return count > 0 ? sum / count : 0; }
};
using Scores = std::map<std::string, Score>;
void add(Scores& scores, const Scores& more);

// What an evaluation may ask of a model; made by the framework.
class Evaluator {
 public:
  struct Result {
    at::Tensor log_probability;  // (B, T) float32: log p(labels[t]), natural; 0 where a position is
                                 // not scored
    at::Tensor prediction;  // (B, T) int64: argmax over the vocabulary; -100 where a position is
                            // not scored
  };
  virtual ~Evaluator() = default;
  virtual int64_t batch_size() const = 0;
  virtual Result score(const Batch& batch) = 0;  // tensors on the CPU
  virtual void progress(int64_t done, int64_t total) = 0;
};

struct TaskPlace {
  uint64_t seed = 0;  // the run's
  int64_t batch = 1;  // samples of one training step, over all ranks: train.batch
};

// Gives samples by index and adds up scores. Data is addressed by (seed, split, sample index),
// never by rank or worker: batch() is pure and may be called from several threads after prepare().
class Task {
 public:
  virtual ~Task() = default;

  // Reads what the task needs (a text, a set). Before it only info()'s vocabulary and prefix,
  // encode() and decode() may be used. Throws ConfigError or FieldError for a file that cannot be
  // read or is too small.
  virtual void prepare() {}

  virtual TaskInfo info() const = 0;

  // Tells data apart that prepare() found, as a SHA-256: a run whose data has changed is not taken
  // on. Empty: the task makes its data. May read all of it. Throws Error when it cannot be read.
  virtual std::string fingerprint() const { return ""; }

  // Samples [first, first + count) of a split. In a train split that ends, indices go on into the
  // next epoch.
  virtual Batch batch(Split split, int64_t first, int64_t count) const = 0;

  // Scores a whole split. The default adds "loss" (natural log, per scored token) and "accuracy"
  // (mean over the scored positions of a sample, then over samples), and "accuracy/<slice_name>"
  // for every slice that batches name.
  virtual Scores evaluate(Evaluator& model, Split split) const;

  // Name of a group of Batch::slice in scores: "64/4".
  virtual std::string slice_name(int64_t slice) const;

  // A sample as a person would want to read it; several lines.
  virtual std::string show(const Batch& batch, int64_t row) const;

  // Text and tokens, for tasks that have text; the defaults write numbers.
  virtual std::vector<int64_t> encode(const std::string& text) const;
  virtual std::string decode(const std::vector<int64_t>& tokens) const;

 protected:
  // What the default evaluate() adds for one batch.
  Scores score(Evaluator& model, const Batch& batch) const;
};

}  // namespace echo
