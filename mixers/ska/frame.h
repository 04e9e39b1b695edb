#pragma once

#include "mixers/ska/documents.h"
#include "mixers/ska/exact.h"

#include <array>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo::ska {

// What came of G_t^-1 x_t, for every token t of every chunk.
struct Solved {
  at::Tensor u;        // (n, S, R) G_t^-1 x_t
  at::Tensor weights;  // (n, S, S) y_s . u_t for s <= t, zero elsewhere
};

// A block of chunks, each in coordinates in which the statistics that enter it have G0 = I: with
// G0^-1 = U U^T, a key z is y = U^T z there. So every operator is bounded by the data, whatever the
// condition of G0. n is chunks times rows times heads of the block.
//
// With R R^T = I + Y Y^T, Y the chunk's keys as rows, and W = R^-1 Y, the Gram matrix after token t
// has the inverse I - sum_{s<=t} w_s w_s^T. Taken as it stands, this difference keeps no more than
// ridge / |z|^2 of I in a direction that is new in the chunk. But what the following steps need of
// u = G_t^-1 x_t are the numbers y_s . u_t, and they are R_t^-T (W_t x_t), with the leading blocks
// up to token t: no difference at all.
struct Frame {
  Documents documents;
  double ridge = 0;
  at::Tensor factor;      // (n, R, R) U
  at::Tensor keys;        // (n, S + 1, R) y_s; row 0 is the key before the chunk
  at::Tensor inverse;     // (n, S, S) R^-1
  at::Tensor directions;  // (n, S, R) W
  at::Tensor lag;         // (n, R, R) M0; undefined at power 0
  at::Tensor values;      // (n, P, R) C0

  at::Tensor now() const { return keys.slice(1, 1); }         // (n, S, R) y_s
  at::Tensor before() const { return keys.slice(1, 0, -1); }  // (n, S, R) y_{s-1}

  // Rows of tokens, or of keys, into these coordinates; gradients of such rows out of them.
  at::Tensor into(const at::Tensor& rows) const;
  at::Tensor out_of(const at::Tensor& rows) const;

  Solved solve(at::Tensor x) const;                     // overwrites x (n, S, R)
  at::Tensor pair_weights(const Solved& solved) const;  // (n, S, S) y_{s-1} . u_t for s <= t
  // u_t for powers 0 to `power`: (M_t G_t^-1)^k q_t solved; queries (n, S, R) as they came.
  std::vector<Solved> filter(const at::Tensor& queries, int64_t power) const;

  std::array<at::Tensor*, 6> tensors() {
    return {&factor, &keys, &inverse, &directions, &lag, &values};
  }
};

// Moves the statistics to the end of the block; they become views of larger tensors.
Frame make_frame(const Chunks& block, const Reading& reading, Statistics& statistics);

}  // namespace echo::ska
