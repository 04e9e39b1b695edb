// Checks of what one forward pass gives: alive, shape, causal, batch, dtypes, threads.
#include "framework/src/testing/checks.h"

#include <algorithm>
#include <sstream>
#include <thread>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

std::string ratio_text(const char* what, double ratio) {
  std::ostringstream text;
  text.precision(1);
  text << what << " " << std::scientific << ratio;
  return text.str();
}

void expect_finite(const std::string& what, const at::Tensor& value) {
  if (!at::isfinite(value).all().item<bool>()) throw Failure(what + " is not finite");
}

std::vector<at::ScalarType> float_types(const Traits& traits) {
  if (traits.bfloat16) return {at::kFloat, at::kBFloat16};
  return {at::kFloat};
}

std::string label(int64_t batch, int64_t length) {
  return "B = " + std::to_string(batch) + ", T = " + std::to_string(length);
}

}  // namespace

std::string check_alive(const Subject& subject) {
  constexpr int64_t kLength = 12;
  const auto mixer = subject.instance(at::kDouble);
  const at::Tensor x = subject.input("x", 2, kLength, at::kDouble).requires_grad_(true);
  const Outcome outcome = run(*mixer, x, {});
  const at::Tensor last = outcome.y.select(1, kLength - 1);
  const at::Tensor w = subject.input("w", 2, 1, at::kDouble).squeeze(1);
  (last * w).sum().backward();
  const at::Tensor dx = x.grad();
  if (!dx.defined() || dx.select(1, kLength - 1).abs().max().item<double>() == 0)
    throw Failure("the output of a token does not depend on the token");
  if (subject.traits().memory != Memory::none &&
      dx.narrow(1, 0, kLength - 1).abs().max().item<double>() == 0)
    throw Failure("the output of a token depends on no token before it");

  const Gradients all = gradients(subject, *mixer, x, {});
  double largest = 0;
  for (const auto& [name, gradient] : all.parameters) {
    expect_finite("the gradient of " + name, gradient);
    largest = std::max(largest, gradient.abs().max().item<double>());
  }
  const std::vector<std::string>& silent = subject.settings().silent;
  for (const auto& [name, gradient] : all.parameters) {
    if (std::find(silent.begin(), silent.end(), name) != silent.end()) continue;
    if (gradient.abs().max().item<double>() <= 1e-12 * largest)
      throw Failure("the gradient of " + name + " is zero");
  }
  return std::to_string(all.parameters.size()) + " parameters";
}

std::string check_shape(const Subject& subject) {
  for (const at::ScalarType dtype : float_types(subject.traits())) {
    const auto mixer = subject.instance(at::kFloat);
    for (const int64_t batch : {1, 3}) {
      for (const int64_t length : {1, 2, 17, 64, 77}) {
        c10::NoGradGuard no_grad;
        const at::Tensor x = subject.input("x", batch, length, dtype);
        const at::Tensor copy = x.clone();
        const at::Tensor y = run(*mixer, x, {}).y;
        const std::string where = label(batch, length);
        if (y.sizes() != x.sizes()) throw Failure("y has another shape than x, " + where);
        if (y.scalar_type() != dtype || y.device() != x.device())
          throw Failure("y has another dtype or device than x, " + where);
        if (!at::equal(x, copy))  // past the counter of changes, which Mixer looks at
          throw Failure("x was written to, " + where);
      }
    }
  }
  return "";
}

std::string check_causal(const Subject& subject) {
  if (!subject.traits().causal) return "not claimed";
  constexpr int64_t kLength = 150;
  for (const at::ScalarType dtype : float_types(subject.traits())) {
    const auto mixer = subject.instance(at::kFloat);
    const at::Tensor x = subject.input("x", 2, kLength, dtype);
    for (const bool with_gradients : {false, true}) {
      c10::AutoGradMode mode(with_gradients);
      const at::Tensor y = run(*mixer, x, {}).y;
      for (const int64_t t : {1, 16, 63, 64, 65, 100, 128, 149}) {
        at::Tensor changed = x.clone();
        changed.select(1, t).mul_(-2).add_(1);
        const at::Tensor other = run(*mixer, changed, {}).y;
        expect_same_bits("outputs before the changed token " + std::to_string(t),
                         other.narrow(1, 0, t), y.narrow(1, 0, t));
      }
    }
  }
  return "";
}

std::string check_batch(const Subject& subject) {
  constexpr int64_t kLength = 77;
  const double tolerance = subject.settings().tolerances.float64;
  const auto mixer = subject.instance(at::kDouble);
  const at::Tensor x = subject.input("x", 3, kLength, at::kDouble);
  const at::Tensor y = run(*mixer, x, {}).y;
  for (int64_t row = 0; row < 3; ++row) {
    expect_close("row " + std::to_string(row) + " alone against in a batch",
                 run(*mixer, x.narrow(0, row, 1), {}).y, y.narrow(0, row, 1), tolerance);
  }

  const at::Tensor single = subject.input("x", 3, kLength, at::kFloat);
  const auto first = subject.instance(at::kFloat);
  const auto second = subject.instance(at::kFloat);
  expect_same_bits("the same forward twice", run(*second, single, {}).y, run(*first, single, {}).y);
  const Gradients once = gradients(subject, *first, single, {});
  const Gradients twice = gradients(subject, *second, single, {});
  expect_same_bits("the same gradient of x twice", twice.x, once.x);
  for (size_t i = 0; i < once.parameters.size(); ++i) {
    expect_same_bits("the same gradient of " + once.parameters[i].first + " twice",
                     twice.parameters[i].second, once.parameters[i].second);
  }

  if (!subject.traits().lengths || !subject.traits().causal) return "padding: not claimed";
  const std::vector<int64_t> counts = {kLength, 40, 1};
  const at::Tensor lengths = at::tensor(counts, at::kLong);
  for (const bool with_gradients : {false, true}) {
    c10::AutoGradMode mode(with_gradients);
    const Outcome padded = run(*mixer, x, {.lengths = lengths});
    const at::Tensor more = subject.input("more", 3, 20, at::kDouble);
    const Outcome after = run(*mixer, more, {.cuts = {1, 2}}, padded.state.clone());
    for (int64_t row = 0; row < 3; ++row) {
      const std::string where = "row " + std::to_string(row) + " padded";
      const int64_t count = counts[static_cast<size_t>(row)];
      Outcome alone = run(*mixer, x.narrow(0, row, 1).narrow(1, 0, count), {});
      expect_close("valid outputs, " + where, padded.y.narrow(0, row, 1).narrow(1, 0, count),
                   alone.y, tolerance);
      expect_same_memory(where, row_of(padded.state, row), alone.state, tolerance);
      const Outcome next =
          run(*mixer, more.narrow(0, row, 1), {.cuts = {1, 2}}, std::move(alone.state));
      expect_close("outputs after the padding, " + where, after.y.narrow(0, row, 1), next.y,
                   tolerance);
    }
  }
  return "";
}

namespace {

double against_float64(const Subject& subject, at::ScalarType dtype) {
  const at::Tensor x = subject.input("x", 2, 77, dtype);
  const auto exact = subject.instance(at::kDouble);
  const auto mixer = subject.instance(at::kFloat);
  const at::Tensor reference = run(*exact, x.to(at::kDouble), {}).y;
  const double whole = rms_ratio(run(*mixer, x, {}).y, reference);
  if (!subject.traits().causal) return whole;
  return std::max(whole, rms_ratio(run(*mixer, x, {.cuts = every_token(77)}).y, reference));
}

void expect_finite_everywhere(const Subject& subject, at::ScalarType dtype, Mixer& mixer) {
  expect_finite("y at T = 4096", run(mixer, subject.input("long", 1, 4096, dtype), {}).y);
  for (const double scale : {1e-4, 1e4}) {
    const at::Tensor x = subject.input("x", 2, 77, dtype) * scale;
    const std::string where = scale < 1 ? " for inputs of scale 1e-4" : " for inputs of scale 1e4";
    expect_finite("y" + where, run(mixer, x, {}).y);
    const Gradients all = gradients(subject, mixer, x, {});
    expect_finite("the gradient of x" + where, all.x);
    for (const auto& [name, gradient] : all.parameters)
      expect_finite("the gradient of " + name + where, gradient);
  }
}

}  // namespace

std::string check_dtypes(const Subject& subject) {
  c10::AutoGradMode gradients_on(true);
  const Tolerances& tolerances = subject.settings().tolerances;
  std::string measured;
  for (const at::ScalarType dtype : float_types(subject.traits())) {
    const bool narrow = dtype == at::kBFloat16;
    double ratio = 0;
    {
      c10::NoGradGuard no_grad;
      ratio = against_float64(subject, dtype);
    }
    measured += (narrow ? ", " : "") + ratio_text(narrow ? "bfloat16" : "float32", ratio);
    if (!(ratio <= (narrow ? tolerances.bfloat16 : tolerances.float32)))
      throw Failure("RMS ratio to float64: " + measured);
    const auto mixer = subject.instance(at::kFloat);
    expect_finite_everywhere(subject, dtype, *mixer);
  }
  return measured;
}

std::string check_threads(const Subject& subject) {
  const at::Tensor x = subject.input("x", 2, 77, at::kFloat);
  const auto serial = subject.instance(at::kFloat);
  const at::Tensor y = run(*serial, x, {}).y;
  const Gradients expected = gradients(subject, *serial, x, {});
  struct Work {
    at::Tensor y;
    Gradients gradients;
    std::string error;
  };
  std::vector<Work> works(2);
  std::vector<std::thread> threads;
  for (Work& work : works) {
    threads.emplace_back([&subject, &x, &work] {
      try {
        const auto mixer = subject.instance(at::kFloat);
        work.y = run(*mixer, x, {}).y;
        work.gradients = gradients(subject, *mixer, x, {});
      } catch (const std::exception& failure) {
        work.error = failure.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Work& work : works) {
    if (!work.error.empty()) throw Failure("in a thread of its own: " + work.error);
    expect_same_bits("y of a thread", work.y, y);
    expect_same_bits("gradient of x of a thread", work.gradients.x, expected.x);
  }
  return "";
}

}  // namespace echo::testing
