#include <echo/error.h>
#include <echo/init.h>

#include <cmath>

#include <ATen/ATen.h>

namespace echo::init {

namespace {

double fan_in(const at::Tensor& value) {
  ECHO_CHECK(value.dim() >= 2, "a fan needs a matrix");
  return static_cast<double>(value.numel() / value.size(0));
}

}  // namespace

Initializer zeros() {
  return [](at::Tensor& value, at::Generator&) { value.zero_(); };
}

Initializer ones() { return constant(1); }

Initializer constant(double number) {
  return [number](at::Tensor& value, at::Generator&) { value.fill_(number); };
}

Initializer normal(double deviation) {
  return [deviation](at::Tensor& value, at::Generator& generator) {
    value.normal_(0, deviation, generator);
  };
}

Initializer uniform(double low, double high) {
  return [low, high](at::Tensor& value, at::Generator& generator) {
    value.uniform_(low, high, generator);
  };
}

Initializer log_of_uniform(double low, double high) {
  return [low, high](at::Tensor& value, at::Generator& generator) {
    value.uniform_(low, high, generator).log_();
  };
}

Initializer time_step_bias() {
  return [](at::Tensor& value, at::Generator& generator) {
    value.uniform_(std::log(1e-3), std::log(0.1), generator).exp_();
    value.add_(value.neg().expm1_().neg_().log_());  // the step itself stays at or above 1e-3
  };
}

Initializer orthogonal() {
  return [](at::Tensor& value, at::Generator& generator) {
    const int64_t rows = value.size(0);
    const int64_t columns = value.numel() / rows;
    at::Tensor draw =
        at::empty({std::max(rows, columns), std::min(rows, columns)}, value.options());
    draw.normal_(0, 1, generator);
    auto [q, r] = at::linalg_qr(draw);
    q = q * r.diagonal().sign();  // makes the distribution uniform over orthogonal matrices
    value.copy_((rows < columns ? q.t() : q).reshape(value.sizes()));
  };
}

Initializer xavier_uniform() {
  return [](at::Tensor& value, at::Generator& generator) {
    const double fan_out = static_cast<double>(value.numel()) / value.size(1);
    const double bound = std::sqrt(6.0 / (fan_in(value) + fan_out));
    value.uniform_(-bound, bound, generator);
  };
}

Initializer kaiming_uniform() {
  return [](at::Tensor& value, at::Generator& generator) {
    const double bound = 1.0 / std::sqrt(fan_in(value));
    value.uniform_(-bound, bound, generator);
  };
}

}  // namespace echo::init
