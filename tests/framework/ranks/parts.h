#pragma once

#include "framework/src/ranks/local_communicator.h"
#include "framework/src/ranks/rank_stretch.h"
#include "tests/framework/ops/compare.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace echo {

// Documents and padding of a batch of two rows.
struct Rows {
  std::string name;
  std::vector<std::vector<int64_t>> starts;  // per row; empty: nowhere
  std::vector<int64_t> lengths;              // empty: all valid

  at::Tensor starts_of(int64_t length) const {
    if (starts.empty()) return {};
    at::Tensor flags = at::zeros({2, length}, at::kBool);
    for (size_t row = 0; row < starts.size(); ++row) {
      for (const int64_t t : starts[row]) {
        if (t < length) flags[static_cast<int64_t>(row)][t] = true;
      }
    }
    return flags;
  }
  at::Tensor valid_of(int64_t length) const {
    return lengths.empty() ? at::Tensor() : at::tensor(lengths, at::kLong).clamp_max(length);
  }
};

// A function of tensors (2, T, ...) of a batch, or of a part of one: (2, T, ...).
using InTime = std::function<at::Tensor(const std::vector<at::Tensor>&, const Span&)>;

struct Outcome {
  at::Tensor y;
  std::vector<at::Tensor> gradients;
};

// y, and the gradients of sum(y * w) over the valid tokens.
inline Outcome outcome_of(const InTime& function, const std::vector<at::Tensor>& inputs,
                          const at::Tensor& w, const Span& span) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.clone().requires_grad_(true));
  at::Tensor y = function(leaves, span);
  if (span.stretch) y = span.stretch->tied(y);
  if (span.lengths.defined()) {
    at::Tensor pad = padding(span.lengths, y.size(1));
    while (pad.dim() < y.dim()) pad = pad.unsqueeze(pad.dim());
    y = y.masked_fill(pad, 0);
  }
  (y * w).sum().backward();
  Outcome outcome{y.detach(), {}};
  for (const at::Tensor& leaf : leaves)
    outcome.gradients.push_back(leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf));
  return outcome;
}

// Parts of the batch on threads give what the whole gives, in value and gradient.
inline void expect_parts_equal(const InTime& function, const std::vector<at::Tensor>& inputs,
                               const Rows& rows, int64_t count, double tolerance) {
  const int64_t length = inputs[0].size(1);
  const at::Tensor starts = rows.starts_of(length), lengths = rows.valid_of(length);
  const Offsets offsets = host_offsets(starts, lengths, 2, length);
  const auto sizes = function(inputs, {.starts = starts, .lengths = lengths, .offsets = &offsets});
  const at::Tensor w = random(sizes.sizes(), 99, inputs[0].scalar_type());
  const Outcome whole =
      outcome_of(function, inputs, w, {.starts = starts, .lengths = lengths, .offsets = &offsets});
  std::vector<Outcome> parts(static_cast<size_t>(count));
  run_local_ranks(count, 20, [&](Communicator& ranks) {
    const SequencePart part = part_of(offsets, length, ranks.rank(), count);
    const auto cut = [&](const at::Tensor& x) {
      return x.defined() ? x.narrow(1, part.first(), part.count()) : x;
    };
    std::vector<at::Tensor> own;
    for (const at::Tensor& input : inputs) own.push_back(cut(input));
    RankStretch stretch(ranks, part);
    Span span{.starts = cut(starts), .stretch = &stretch};
    if (lengths.defined()) span.lengths = (lengths - part.first()).clamp(0, part.count());
    const Offsets here = host_offsets(span.starts, span.lengths, 2, part.count());
    span.offsets = &here;
    parts[static_cast<size_t>(part.rank)] = outcome_of(function, own, cut(w), span);
  });
  const auto joined = [&](const std::function<at::Tensor(const Outcome&)>& which) {
    std::vector<at::Tensor> all;
    for (const Outcome& part : parts) all.push_back(which(part));
    return at::cat(all, 1);
  };
  const std::string where =
      rows.name + ", T = " + std::to_string(length) + ", " + std::to_string(count) + " ranks";
  EXPECT_LE(testing::rms_ratio(joined([](const Outcome& part) { return part.y; }), whole.y),
            tolerance)
      << "y, " << where;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor gradient = joined([&](const Outcome& part) { return part.gradients[i]; });
    EXPECT_LE(testing::rms_ratio(gradient, whole.gradients[i]), tolerance)
        << "gradient " << i << ", " << where;
  }
}

// Documents that begin nowhere, at the first token of parts, in every part; rows that end in the
// first part.
inline std::vector<Rows> all_rows(int64_t length) {
  std::vector<int64_t> many, borders;
  for (int64_t t = 0; t < length; t += 7) many.push_back(t);
  for (const int64_t count : {2, 3, 4}) {
    for (int64_t rank = 0; rank < count; ++rank) borders.push_back(length * rank / count);
  }
  const std::vector<int64_t> ends = {length, std::max<int64_t>(1, length / 6)};
  return {{"one document", {}, {}},
          {"documents at the borders", {borders, {}}, {}},
          {"documents in every part", {many, {length / 3 + 2}}, {}},
          {"padding", {}, ends},
          {"documents and padding", {many, many}, ends}};
}

// make gives the inputs (2, T, ...) in float64.
inline void expect_parts_equal_everywhere(
    const InTime& function, const std::function<std::vector<at::Tensor>(int64_t length)>& make) {
  // Parts of one token; of one chunk; of several.
  for (const int64_t length : {4, 67, 140}) {
    std::vector<at::Tensor> inputs = make(length), single;
    for (const at::Tensor& input : inputs) single.push_back(input.to(at::kFloat));
    for (const Rows& rows : all_rows(length)) {
      for (const int64_t count : {2, 3, 4}) {
        if (length < 140 || count == 2) expect_parts_equal(function, inputs, rows, count, 1e-11);
      }
      if (length == 67) expect_parts_equal(function, single, rows, 3, 1e-5);
    }
  }
}

}  // namespace echo
