#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include <ATen/core/Tensor.h>

namespace echo {

// A tensor that is on its way from other ranks: what is computed before finish() hides the way.
class Arrival {
 public:
  using Finish = std::function<at::Tensor()>;
  explicit Arrival(Finish finish) : finish_(std::move(finish)) {}

  // Waits for the tensor; called exactly once. Throws when a rank does not come.
  at::Tensor finish() { return std::exchange(finish_, nullptr)(); }

 private:
  Finish finish_;
};

// What a mixer sees of the ranks that hold the other parts of its sequences: every row is cut into
// size() parts of at least one token, and part r, in the order of time, is with rank r. Made by the
// framework for one forward pass; used by one thread.
//
// Exchanges are differentiable. All ranks begin the same ones, of the same shapes and dtype, in the
// same order, and finish them in one order too, whatever their tokens are; so nothing that decides
// about an exchange may depend on values, nor on the rank. Each sends what it is given to all other
// ranks, (size - 1) times its bytes, and as many in the backward pass.
class Stretch {
 public:
  virtual ~Stretch() = default;

  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  virtual int64_t length(int64_t rank) const = 0;  // tokens of that rank's part
  int64_t longest_part() const;
  int64_t tokens_before() const;  // of a row, in the parts before this one

  // What is known of the other parts' tokens without an exchange.
  //
  // (B) int64: tokens before this part that belong to the document which it goes on with. longest:
  // a bound of them that the host knows.
  virtual const at::Tensor& position() const = 0;
  virtual int64_t longest() const = 0;
  // (size, B) bool: no document begins in that rank's part. Undefined: none begins in any.
  virtual const at::Tensor& unbroken() const = 0;

  // All parts of a tensor, (...) -> (size, ...). `what` names it in messages: "keys".
  virtual Arrival gather(const at::Tensor& part, const std::string& what) = 0;

  // Of all parts (size, B, ...) the sum over those before this one, since the document began: (B,
  // ...); zeros on rank 0.
  at::Tensor sum_before(const at::Tensor& parts) const;
  // Of all parts' last tokens (size, B, n, ...), a shorter part's behind zeros, at most the last
  // `count` before this part: (B, at most count, ...), of whatever document. n is at least the
  // smaller of count and longest_part().
  at::Tensor last_before(const at::Tensor& parts, int64_t count) const;
  // The last n tokens of this part (B, T, ...) as last_before wants them: (B, n, ...).
  static at::Tensor last_tokens(const at::Tensor& tokens, int64_t n);

  // Exchanges made of these. What a part t (B, ...) adds to a sum: the sum before this part.
  Arrival prefix_sum(const at::Tensor& t, const std::string& what);

  // Parts that change a memory S (B, H, K, V) into transition S + state: the memory before this
  // part, from zeros before the first. transition: (B, H), (B, H, K) of rows, or (B, H, K, K); 0
  // where a document begins in the part, whose state then counts from its last start.
  Arrival prefix_compose(const at::Tensor& transition, const at::Tensor& state,
                         const std::string& what);

  // The n tokens before this part (B, T, ...) -> (B, n, ...), oldest first; zeros where the
  // document has none.
  Arrival halo(const at::Tensor& tokens, int64_t n, const std::string& what);

  // y, whose graph holds all exchanges so far on every rank, so that all take part in the backward
  // pass. Called by Mixer, not by mixers.
  virtual at::Tensor tied(const at::Tensor& y) = 0;
};

}  // namespace echo
