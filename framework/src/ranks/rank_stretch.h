#pragma once

#include "framework/src/ranks/communicator.h"

#include <echo/span.h>
#include <echo/stretch.h>

namespace echo {

// Which part of its sequences a rank reads, and what the host knows of the others: all ranks see
// the same batch.
struct SequencePart {
  int64_t rank = 0;
  int64_t ranks = 1;
  int64_t whole = 0;    // tokens of a row, over all parts
  at::Tensor position;  // (B) int64, see Stretch
  at::Tensor unbroken;  // (ranks, B) bool, or undefined
  int64_t longest = 0;  // of position

  int64_t first(int64_t of_rank) const { return whole * of_rank / ranks; }
  int64_t first() const { return first(rank); }
  int64_t count() const { return first(rank + 1) - first(rank); }
};

// offsets: of whole rows of `length` tokens. Throws Error where a rank would get no token.
SequencePart part_of(const Offsets& offsets, int64_t length, int64_t rank, int64_t ranks,
                     at::Device device = at::kCPU);

// A Stretch on a communicator whose ranks are the parts. It is made for one forward pass; the
// communicator outlives the backward pass too. Backward, the exchanges run in the reverse of the
// order in which they were finished, on every rank, also on one whose tokens do not read them.
class RankStretch final : public Stretch {
 public:
  RankStretch(Communicator& ranks, const SequencePart& part);

  int64_t rank() const override { return part_.rank; }
  int64_t size() const override { return part_.ranks; }
  int64_t length(int64_t rank) const override { return part_.first(rank + 1) - part_.first(rank); }
  const at::Tensor& position() const override { return part_.position; }
  int64_t longest() const override { return part_.longest; }
  const at::Tensor& unbroken() const override { return part_.unbroken; }
  Arrival gather(const at::Tensor& part, const std::string& what) override;
  at::Tensor tied(const at::Tensor& y) override;

 private:
  Communicator& ranks_;
  SequencePart part_;
  at::Tensor ticket_;  // a number that each exchange takes from the one before: their order
  int64_t exchanges_ = 0;
};

}  // namespace echo
