#pragma once

#include <echo/error.h>

#include <optional>
#include <type_traits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

// What the kernels of this folder share. A kernel runs on the CPU over rows: the last axis of a
// tensor, contiguous, with any strides before it that two loops can walk.
namespace echo::ops {

// What values of type T are added up in.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The same as a dtype: float32, or float64 for float64.
inline at::ScalarType wide(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

inline bool has_kernel(const at::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  return x.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16);
}

// Calls run(T{}) with the C++ type of x's dtype.
template <class F>
void with_type(const at::Tensor& x, F&& run) {
  if (x.scalar_type() == at::kFloat) return run(float{});
  if (x.scalar_type() == at::kDouble) return run(double{});
  run(at::BFloat16{});
}

template <class... Tensors>
bool needs_graph(const Tensors&... inputs) {
  return c10::GradMode::is_enabled() && ((inputs.defined() && inputs.requires_grad()) || ...);
}

// As autograd's functions take a tensor that may be undefined.
inline std::optional<at::Tensor> given(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// The kernels' own derivatives work on raw memory, which autograd cannot see through.
inline void refuse_second_derivative(const char* name) {
  if (!c10::GradMode::is_enabled()) return;
  throw Error(std::string(name) + " has no second derivative: call backward without create_graph");
}

// Addresses of the rows of a tensor. Holds a contiguous copy when its strides fit no two loops.
class Rows {
 public:
  explicit Rows(const at::Tensor& x) : tensor_(x) {
    if (!fits()) {
      tensor_ = x.contiguous();
      fits();
    }
  }

  const at::Tensor& tensor() const { return tensor_; }
  int64_t count() const { return outer_ * inner_; }
  int64_t width() const { return tensor_.size(-1); }
  int64_t offset(int64_t row) const {
    return row / inner_ * outer_stride_ + row % inner_ * inner_stride_;
  }

 private:
  bool fits() {
    const int64_t last = tensor_.dim() - 1;
    outer_ = inner_ = 1;
    outer_stride_ = inner_stride_ = 0;
    if (tensor_.size(last) > 1 && tensor_.stride(last) != 1) return false;
    int level = 0;  // 0: nothing yet, 1: filling the inner loop, 2: the outer one
    for (int64_t d = last - 1; d >= 0; --d) {
      if (tensor_.size(d) == 1) continue;
      if (level == 0) {
        inner_ = tensor_.size(d);
        inner_stride_ = tensor_.stride(d);
        level = 1;
      } else if (level == 1 && tensor_.stride(d) == inner_ * inner_stride_) {
        inner_ *= tensor_.size(d);
      } else if (level == 1) {
        outer_ = tensor_.size(d);
        outer_stride_ = tensor_.stride(d);
        level = 2;
      } else if (tensor_.stride(d) == outer_ * outer_stride_) {
        outer_ *= tensor_.size(d);
      } else {
        return false;
      }
    }
    return true;
  }

  at::Tensor tensor_;
  int64_t outer_ = 1;
  int64_t inner_ = 1;
  int64_t outer_stride_ = 0;
  int64_t inner_stride_ = 0;
};

// A sum in sixteen lanes: the compiler makes vectors of them, and rounding grows with n / 16.
template <class W, class F>
W lane_sum(int64_t n, F&& term) {
  constexpr int64_t kLanes = 16;
  W lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  }
  for (; i < n; ++i) lanes[i % kLanes] += term(i);
  W sum = 0;
  for (int64_t j = 0; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

// Sums over rows (gradients of weights) are made in so many parts, whatever the number of threads,
// and the parts added in order: the same bits on every machine.
inline int64_t reduction_parts(int64_t rows) { return std::clamp<int64_t>(rows / 64, 1, 32); }

}  // namespace echo::ops
