#include "trainers/tasks/mqar/zoology.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace echo {

namespace {

// Room for one permutation, kept from row to row.
struct Scratch {
  std::vector<int32_t> entries;
  std::vector<uint32_t> partners;  // entry i is swapped with entry partners[i]
};

// The first `count` entries of a random permutation of 0..size-1, each plus `offset`. The whole
// permutation is drawn: what follows in the stream depends on it.
void permutation_head(Mersenne& stream, int64_t size, int64_t count, int64_t offset,
                      Scratch& scratch, int32_t* head) {
  scratch.entries.resize(size);
  scratch.partners.resize(size);
  std::iota(scratch.entries.begin(), scratch.entries.end(), static_cast<int32_t>(offset));
  uint32_t mask = 1;  // smallest 2^b - 1 that is at least i
  while (mask < static_cast<uint32_t>(size - 1)) mask = mask << 1 | 1;
  uint32_t i = static_cast<uint32_t>(size - 1);
  for (; mask > 0; mask >>= 1) {
    while (i > mask >> 1) {  // a word above i is dropped, without a branch that is hard to foresee
      const uint32_t partner = stream() & mask;
      scratch.partners[i] = partner;
      i -= partner <= i;
    }
  }
  for (int64_t entry = size - 1; entry > 0; --entry)
    std::swap(scratch.entries[entry], scratch.entries[scratch.partners[entry]]);
  std::copy_n(scratch.entries.begin(), count, head);
}

// A number in [0, 1) with 53 random bits.
double real(Mersenne& stream) {
  const uint32_t high = stream() >> 5;
  const uint32_t low = stream() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

std::vector<double> normalised_running_sum(const std::vector<double>& weights) {
  std::vector<double> sums(weights.size());
  std::partial_sum(weights.begin(), weights.end(), sums.begin());
  const double total = sums.back();
  for (double& sum : sums) sum /= total;
  return sums;
}

}  // namespace

std::vector<double> slot_weights(const MqarShape& shape) {
  std::vector<double> weights(static_cast<size_t>(shape.slots()));
  for (size_t g = 0; g < weights.size(); ++g)
    weights[g] = std::pow(static_cast<double>(g + 1), shape.power - 1);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= total;
  return weights;
}

MqarGenerator::MqarGenerator(const MqarShape& shape)
    : shape_(shape),
      weights_(slot_weights(shape)),
      running_sum_(normalised_running_sum(weights_)) {}

void MqarGenerator::draw_slots(Mersenne& stream, int32_t* slots) const {
  std::vector<double> weights;  // with those of the slots found set to 0
  std::vector<double> sums;
  std::vector<bool> taken(weights_.size());
  for (int64_t found = 0; found < shape_.pairs;) {
    if (found > 0) {
      if (weights.empty()) weights = weights_;
      for (int64_t j = 0; j < found; ++j) weights[slots[j]] = 0;
      sums = normalised_running_sum(weights);
    }
    const std::vector<double>& steps = found > 0 ? sums : running_sum_;
    for (int64_t wanted = shape_.pairs - found; wanted > 0; --wanted) {
      const auto step = std::upper_bound(steps.begin(), steps.end(), real(stream));
      const auto slot = static_cast<size_t>(step - steps.begin());
      ECHO_CHECK(slot < taken.size());
      if (taken[slot]) continue;
      taken[slot] = true;
      slots[found++] = static_cast<int32_t>(slot);
    }
  }
}

MqarRows MqarGenerator::draw(int64_t samples, uint32_t seed) const {
  const int64_t pairs = shape_.pairs;
  const int64_t first_value = shape_.first_value();
  MqarRows rows;
  for (auto* part : {&rows.keys, &rows.values, &rows.slots}) part->resize(samples * pairs);
  Mersenne stream(seed);
  Scratch scratch;
  for (int64_t n = 0; n < samples; ++n)
    permutation_head(stream, first_value - 1, pairs, 1, scratch, &rows.keys[n * pairs]);
  for (int64_t n = 0; n < samples; ++n)
    permutation_head(stream, shape_.vocabulary - first_value, pairs, first_value, scratch,
                     &rows.values[n * pairs]);
  for (int64_t n = 0; n < samples; ++n) draw_slots(stream, &rows.slots[n * pairs]);
  if (shape_.fill) {
    Mersenne filler(seed);
    const uint32_t vocabulary = static_cast<uint32_t>(shape_.vocabulary);
    rows.filler.resize(samples * shape_.length);
    for (int32_t& token : rows.filler) token = static_cast<int32_t>(filler() % vocabulary);
  }
  return rows;
}

void MqarGenerator::write(const MqarRows& rows, int64_t row, int64_t* inputs,
                          int64_t* labels) const {
  const int64_t context = 2 * shape_.pairs;
  if (shape_.fill) {
    std::copy_n(&rows.filler[row * shape_.length], shape_.length, inputs);
  } else {
    std::fill_n(inputs, shape_.length, 0);
  }
  std::fill_n(labels, shape_.length, -100);
  for (int64_t i = 0; i < shape_.pairs; ++i) {
    const int64_t pair = row * shape_.pairs + i;
    const int64_t query = context + 2 * rows.slots[pair];
    inputs[2 * i] = inputs[query] = rows.keys[pair];
    inputs[2 * i + 1] = labels[query] = rows.values[pair];
  }
}

}  // namespace echo
