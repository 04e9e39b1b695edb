// The check of sequences whose parts are held by several ranks.
#include "framework/src/ranks/local_communicator.h"
#include "framework/src/ranks/rank_stretch.h"
#include "framework/src/testing/checks.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

constexpr double kTimeLimit = 60;  // seconds that one rank waits for another

// A batch whose rows are read whole, and by ranks.
struct Case {
  std::string name;
  int64_t length = 0;
  std::vector<std::vector<int64_t>> starts;  // per row; empty: nowhere
  std::vector<int64_t> lengths;              // empty: all tokens are valid
};

// Parts of unequal size and of one token; documents that begin at a part's first token, in every
// part and in none; rows that end in the first part.
std::vector<Case> cases(const Traits& traits) {
  std::vector<Case> all = {{"one document", 77, {}, {}}, {"a token for each rank", 3, {}, {}}};
  if (traits.starts) {
    all.push_back({"documents", 77, {{0, 5, 26, 40, 60}, {38}}, {}});
    all.push_back({"a document that begins in one part", 77, {{30}, {}}, {}});
  }
  if (traits.lengths) all.push_back({"padding", 77, {}, {77, 11}});
  if (traits.starts && traits.lengths)
    all.push_back({"documents and padding", 77, {{3, 51}, {20, 30}}, {60, 31}});
  return all;
}

Feed feed_of(const Case& tested) {
  Feed feed{.stateless = true};
  if (!tested.starts.empty()) {
    feed.starts = at::zeros({2, tested.length}, at::kBool);
    for (size_t row = 0; row < tested.starts.size(); ++row) {
      for (const int64_t t : tested.starts[row]) feed.starts[static_cast<int64_t>(row)][t] = true;
    }
  }
  if (!tested.lengths.empty()) feed.lengths = at::tensor(tested.lengths, at::kLong);
  return feed;
}

// y without what stands on padding.
at::Tensor valid(const at::Tensor& y, const at::Tensor& lengths) {
  return lengths.defined() ? y.masked_fill(padding(lengths, y.size(1)).unsqueeze(2), 0) : y;
}

struct Result {
  at::Tensor y;
  Gradients gradients;
};

// y and the gradients of sum(y * w).
Result result_of(Mixer& mixer, const at::Tensor& x, const at::Tensor& w, const Feed& feed) {
  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor y = valid(run(mixer, leaf, feed).y, feed.lengths);
  (y * w).sum().backward();
  Result result{y.detach(), {leaf.grad().defined() ? leaf.grad() : at::zeros_like(x), {}}};
  for (const Parameter& parameter : mixer.parameters()) {
    const at::Tensor gradient = parameter.gradient();
    result.gradients.parameters.emplace_back(
        parameter.name, gradient.defined() ? gradient.clone() : at::zeros_like(parameter.value()));
  }
  return result;
}

// The same by ranks, each with an instance of its own: parts joined, gradients of parameters added.
Result result_of_ranks(const Subject& subject, int64_t ranks, const at::Tensor& x,
                       const at::Tensor& w, const Feed& feed) {
  const int64_t length = x.size(1);
  const Offsets offsets = host_offsets(feed.starts, feed.lengths, x.size(0), length);
  std::vector<Result> results(static_cast<size_t>(ranks));
  run_local_ranks(ranks, kTimeLimit, [&](Communicator& communicator) {
    const auto mixer = subject.instance(x.scalar_type());
    const SequencePart part = part_of(offsets, length, communicator.rank(), ranks);
    const auto cut = [&](const at::Tensor& whole) {
      return whole.defined() ? whole.narrow(1, part.first(), part.count()) : whole;
    };
    RankStretch stretch(communicator, part);
    Feed own{.starts = cut(feed.starts), .stateless = true, .stretch = &stretch};
    if (feed.lengths.defined()) own.lengths = (feed.lengths - part.first()).clamp(0, part.count());
    {
      c10::NoGradGuard no_grad;
      RankStretch without_gradients(communicator, part);
      Feed same = own;
      same.stretch = &without_gradients;
      const at::Tensor y = run(*mixer, cut(x), same).y;
      results[static_cast<size_t>(part.rank)].y = valid(y, own.lengths);
    }
    Result result = result_of(*mixer, cut(x), cut(w), own);
    expect_close("y with gradients on rank " + std::to_string(part.rank), result.y,
                 results[static_cast<size_t>(part.rank)].y, subject.settings().tolerances.float64);
    results[static_cast<size_t>(part.rank)] = std::move(result);
  });
  Result all = results[0];
  std::vector<at::Tensor> outputs, dx;
  for (size_t rank = 0; rank < results.size(); ++rank) {
    outputs.push_back(results[rank].y);
    dx.push_back(results[rank].gradients.x);
    for (size_t i = 0; rank > 0 && i < all.gradients.parameters.size(); ++i)
      all.gradients.parameters[i].second += results[rank].gradients.parameters[i].second;
  }
  all.y = at::cat(outputs, 1);
  all.gradients.x = at::cat(dx, 1);
  return all;
}

}  // namespace

std::string check_ranks(const Subject& subject) {
  if (!subject.traits().stretch) return "not claimed";
  const double tolerance = subject.settings().tolerances.float64;
  for (const Case& tested : cases(subject.traits())) {
    const Feed feed = feed_of(tested);
    const at::Tensor x = subject.input("x", 2, tested.length, at::kDouble);
    const at::Tensor w = subject.input("w", 2, tested.length, at::kDouble);
    const auto mixer = subject.instance(at::kDouble);
    const Result whole = result_of(*mixer, x, w, feed);
    for (const int64_t ranks : {2, 3}) {
      const std::string where = tested.name + ", " + std::to_string(ranks) + " ranks";
      const Result parts = result_of_ranks(subject, ranks, x, w, feed);
      expect_close("y, " + where, parts.y, whole.y, tolerance);
      expect_close(where, parts.gradients, whole.gradients, tolerance);
    }
  }
  return "";
}

}  // namespace echo::testing
