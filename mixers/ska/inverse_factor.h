#pragma once

#include <ATen/core/Tensor.h>

namespace echo::ska {

// The upper triangular U with A^-1 = U U^T for each symmetric matrix A of a batch: with A = L L^T,
// U is L^-T, zero below the diagonal. Reads the lower triangle. (N, R, R) -> (N, R, R), contiguous.
//
// `floor` is a lower bound of the eigenvalues of A, and so of every squared pivot. A pivot that
// rounding has pushed below it is raised to it, so that a badly conditioned matrix loses digits
// and does not become NaN. Values only: nothing here asks for a gradient of the factor.
at::Tensor inverse_factor(const at::Tensor& matrices, double floor);

// The same through LibTorch's solvers, on any device; it does not know the floor.
at::Tensor inverse_factor_reference(const at::Tensor& matrices);

}  // namespace echo::ska
