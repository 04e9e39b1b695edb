#pragma once

#include <functional>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace echo::init {

// Fills a float32 tensor on the CPU; the module's device and dtype come later, so that initial
// values depend on neither. For a matrix (out, in): fan_in is the product of all dimensions but the
// first.
using Initializer = std::function<void(at::Tensor& value, at::Generator& generator)>;

Initializer zeros();
Initializer ones();
Initializer constant(double value);
Initializer normal(double deviation);
Initializer uniform(double low, double high);
Initializer log_of_uniform(double low, double high);  // log(u), u uniform in [low, high)
// The bias of a time step softplus(raw + bias) that is log-uniform in [1e-3, 0.1): its inverse
// softplus, as Mamba draws it.
Initializer time_step_bias();
Initializer orthogonal();  // rows or columns orthonormal, whichever are fewer
Initializer xavier_uniform();
Initializer kaiming_uniform();  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch's Linear

}  // namespace echo::init
