#pragma once

#include <echo/fields.h>
#include <echo/task.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace echo {

// Ids that mark something in every task of the synthetic suite.
namespace token {
constexpr int64_t kPad = 0;
constexpr int64_t kQuery = 1;  // Q: the next token is the key that is asked
constexpr int64_t kSet = 2;
constexpr int64_t kNop = 3;
constexpr int64_t kCommit = 4;
constexpr int64_t kEnd = 5;
constexpr int64_t kHide = 6;
}  // namespace token

// The ids of V tokens: 16 that are reserved, V/4 keys, V/4 values, the rest filler.
struct Alphabet {
  int64_t vocabulary;

  int64_t keys() const { return vocabulary / 4; }
  int64_t values() const { return vocabulary / 4; }
  int64_t fillers() const { return vocabulary - first_filler(); }
  int64_t first_key() const { return 16; }
  int64_t first_value() const { return first_key() + keys(); }
  int64_t first_filler() const { return first_value() + values(); }

  // "Q", "k3", "v3", "f3", "r9" (reserved, without a use).
  std::string name(int64_t id) const;
};

// The random draws of one sample. Used by one thread.
class Draw {
 public:
  Draw(const Alphabet& alphabet, uint64_t seed) : alphabet_(alphabet), engine_(seed) {}

  int64_t below(int64_t size);  // uniform in 0..size-1

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (int64_t i = static_cast<int64_t>(items.size()) - 1; i > 0; --i)
      std::swap(items[i], items[below(i + 1)]);
  }

  std::vector<int64_t> choose(int64_t size, int64_t count);  // distinct, of 0..size-1, any order
  std::vector<int64_t> keys(int64_t count);                  // distinct ids, in random order
  std::vector<int64_t> values(int64_t count);                // distinct ids, in random order
  std::vector<int64_t> filler(int64_t count);                // independent ids

  // Where blocks of these sizes begin that stand in this order in `cells` cells; all layouts are
  // equally likely.
  std::vector<int64_t> scatter(const std::vector<int64_t>& sizes, int64_t cells);

  // From which stream each next item comes when streams of these sizes are joined; all
  // interleavings are equally likely.
  std::vector<int64_t> merge(const std::vector<int64_t>& sizes);

 private:
  Alphabet alphabet_;
  std::mt19937_64 engine_;
};

// A sample under construction.
struct Sample {
  std::vector<int64_t> inputs;
  std::vector<int64_t> labels;

  void add(int64_t id, int64_t label = -100) {
    inputs.push_back(id);
    labels.push_back(label);
  }
  void add(const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) add(id);
  }
};

// The fields that all tasks of the suite have.
struct SyntheticOptions {
  int64_t vocabulary = 128;
  std::optional<int64_t> seed;
  int64_t validation_samples = 512;
  int64_t test_samples = 2000;

  void visit(Fields& fields);
  void check() const;  // throws FieldError
  uint64_t seed_of(const TaskPlace& place) const;
};

// Samples of one length as a batch; its prefix is all before the first query's Q.
Batch synthetic_batch(int64_t first, int64_t count,
                      const std::function<Sample(int64_t index)>& make);

// A row of such a batch by the names of its tokens: "k3→v5" for a key and its value, "…64…" for so
// much filler, "Q k3?→v5" for a query and its answer.
std::string show_synthetic(const Alphabet& alphabet, const Batch& batch, int64_t row);

}  // namespace echo
