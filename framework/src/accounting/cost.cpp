#include "framework/src/accounting/cost.h"

#include <cmath>
#include <set>

namespace echo {

namespace {

// Shares below which a difference is rounding, and above which a parabola is no better than a line.
constexpr double kStraight = 1e-3;
constexpr double kMeets = 1.0 / 8;

// Lagrange's weights: sum of weights[i] f(points[i]) is f(x) for polynomials of as many terms.
std::vector<double> through(const std::vector<int64_t>& points, double x) {
  std::vector<double> weights(points.size(), 1);
  for (size_t i = 0; i < points.size(); ++i) {
    for (size_t j = 0; j < points.size(); ++j) {
      if (i == j) continue;
      const auto own = static_cast<double>(points[i]), other = static_cast<double>(points[j]);
      weights[i] *= (x - other) / (own - other);
    }
  }
  return weights;
}

struct Part {
  int64_t point = 0;
  double weight = 0;
};

// The points that count for x, with their weights.
std::vector<Part> parts(const std::vector<int64_t>& points, int64_t x, bool curved) {
  if (points.size() == 1)
    return {{points[0], static_cast<double>(x) / static_cast<double>(points[0])}};
  const size_t take = curved ? 3 : 2;
  size_t end = points.size();  // of those taken
  while (end > take && points[end - take] > x) --end;
  const std::vector<int64_t> taken(points.begin() + static_cast<int64_t>(end - take),
                                   points.begin() + static_cast<int64_t>(end));
  const std::vector<double> weights = through(taken, static_cast<double>(x));
  std::vector<Part> parts;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (weights[i] != 0) parts.push_back({taken[i], weights[i]});
  }
  return parts;
}

double value_at(const std::vector<int64_t>& points, const std::vector<double>& values, size_t count,
                double x) {
  const size_t first = points.size() - count;
  const std::vector<double> weights =
      through({points.begin() + static_cast<int64_t>(first), points.end()}, x);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += weights[i] * values[first + i];
  return sum;
}

bool same_length(const std::vector<std::pair<const Trace*, double>>& traces) {
  for (const auto& [trace, weight] : traces) {
    if (trace->held.size() != traces.front().first->held.size()) return false;
  }
  return true;
}

}  // namespace

std::vector<int64_t> Cost::points(size_t axis) const {
  std::set<int64_t> found;
  for (const auto& [size, trace] : traces_) found.insert(size[axis]);
  return {found.begin(), found.end()};
}

bool Cost::curved(size_t axis, Quantity quantity) const {
  const std::vector<int64_t> along = points(axis);
  if (along.size() < 4) return false;
  std::vector<double> values;
  Size size = traces_.rbegin()->first;  // the largest along the other axes
  for (const int64_t point : along) {
    size[axis] = point;
    values.push_back(static_cast<double>((traces_.at(size).*quantity)()));
  }
  const auto smallest = static_cast<double>(along.front());
  const double line = value_at(along, values, 2, smallest) - values.front();
  const double parabola = value_at(along, values, 3, smallest) - values.front();
  // A line through the two largest that passes below the smallest bends upwards.
  return line < -kStraight * values.back() && std::abs(parabola) < kMeets * std::abs(line);
}

Cost::Weighted Cost::weighted(const Size& size, Quantity quantity) const {
  std::vector<std::pair<Size, double>> corners = {{{}, 1.0}};
  for (size_t axis = 0; axis < size.size(); ++axis) {
    std::vector<std::pair<Size, double>> longer;
    for (const Part& part : parts(points(axis), size[axis], curved(axis, quantity))) {
      for (const auto& [corner, weight] : corners) {
        Size with = corner;
        with.push_back(part.point);
        longer.emplace_back(std::move(with), weight * part.weight);
      }
    }
    corners = std::move(longer);
  }
  Weighted traces;
  for (const auto& [corner, weight] : corners) traces.emplace_back(&traces_.at(corner), weight);
  return traces;
}

Extent Cost::at(const Size& size) const {
  const Weighted ends = weighted(size, &Trace::last), peaks = weighted(size, &Trace::peak);
  double last = 0, peak = 0;
  for (const auto& [trace, weight] : ends) last += weight * static_cast<double>(trace->last());
  for (const auto& [trace, weight] : peaks) peak += weight * static_cast<double>(trace->peak());
  if (same_length(peaks)) {
    peak = 0;
    for (size_t moment = 0; moment < peaks.front().first->held.size(); ++moment) {
      double held = 0;
      for (const auto& [trace, weight] : peaks)
        held += weight * static_cast<double>(trace->held[moment]);
      peak = std::max(peak, held);
    }
  }
  return {std::llround(std::max(peak, last)), std::llround(last)};
}

}  // namespace echo
