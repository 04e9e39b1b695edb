#pragma once

#include "trainers/tasks/mqar/mersenne.h"

#include <cstdint>
#include <vector>

namespace echo {

// What a row of zoology's MQAR data looks like. Needs an even length, vocabulary > length,
// 4 pairs <= length and at least as many positive slot_weights as pairs.
struct MqarShape {
  int64_t vocabulary = 0;  // V; keys are 1..V/2-1, values V/2..V-1
  int64_t length = 0;      // L
  int64_t pairs = 0;       // K
  double power = 0;        // a: query slot g (0, 1, ..) has the weight (g + 1)^(a - 1)
  bool fill = false;       // random tokens instead of zeros between the queries

  int64_t first_value() const { return vocabulary / 2; }
  int64_t slots() const { return (length - 2 * pairs) / 2; }  // places where a query may stand
};

// (g + 1)^(power - 1) for query slot g, divided by their sum. A power far from 1 makes some of them
// 0, a very large one makes them nan.
std::vector<double> slot_weights(const MqarShape& shape);

// N rows in the form in which they are drawn.
struct MqarRows {
  std::vector<int32_t> keys;    // (N, K)
  std::vector<int32_t> values;  // (N, K)
  std::vector<int32_t> slots;   // (N, K): where key j is asked
  std::vector<int32_t> filler;  // (N, L), empty without fill
};

// Draws the rows of zoology's generator (HazyResearch, commit d88d6f5), bit for bit: one stream of
// words, all keys first, then all values, then all slots; so a row depends on how many are drawn.
// The filler, which zoology takes from a generator that stands anywhere, comes from a second stream
// with the same seed. May be used by several threads.
class MqarGenerator {
 public:
  explicit MqarGenerator(const MqarShape& shape);

  // Costs two permutations of V/2 numbers a row: about 0.05 ms at V 8192.
  MqarRows draw(int64_t samples, uint32_t seed) const;

  // Writes row `row` of `rows` as L tokens and L labels.
  void write(const MqarRows& rows, int64_t row, int64_t* inputs, int64_t* labels) const;

  const MqarShape& shape() const { return shape_; }

 private:
  void draw_slots(Mersenne& stream, int32_t* slots) const;

  MqarShape shape_;
  std::vector<double> weights_;      // of the slots, sum 1
  std::vector<double> running_sum_;  // of all weights, divided by the last
};

}  // namespace echo
