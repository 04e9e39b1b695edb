#pragma once

#include <echo/state.h>

#include <vector>

namespace echo {

// `starts` and `lengths` on the host, made once per batch, so that no mixer has to synchronise.
struct Offsets {
  std::vector<std::vector<int64_t>>
      starts;  // per row: indices of the tokens before which memory is emptied, rising
  std::vector<int64_t> lengths;  // per row: valid tokens
};

// Offsets of a batch of (B, T) tokens; starts and lengths may be undefined. On an accelerator this
// waits for the device, so it is called once per batch, outside the model, where both are still on
// the host.
Offsets host_offsets(const at::Tensor& starts, const at::Tensor& lengths, int64_t batch,
                     int64_t length);

// Position of every token in its document, (B, T) int64: `position` (B) tokens came before, and a
// start begins at 0.
at::Tensor token_positions(const at::Tensor& position, const at::Tensor& starts, int64_t length);

// (B, T) bool: true for padding, the tokens from lengths (B) int64 on.
at::Tensor padding(const at::Tensor& lengths, int64_t length);

// Takes diagnostics and auxiliary losses from inside a forward pass.
class Probe {
 public:
  virtual ~Probe() = default;
  virtual void record(const std::string& name, const at::Tensor& value) = 0;
  virtual void loss(const std::string& name, const at::Tensor& scalar) = 0;
};

class Stretch;  // echo/stretch.h

// Which part of which sequences a forward pass reads. Made by the framework only; the pointers
// outlive the call.
struct Span {
  State* state = nullptr;  // null: start empty, return none. Else read, then updated
  at::Tensor starts;   // (B, T) bool: memory is emptied before this token; undefined: nowhere here
  at::Tensor lengths;  // (B) int64: valid tokens, the rest is padding and leaves the state alone;
                       // undefined: all
  const Offsets* offsets = nullptr;  // both on the host; set whenever one of them is defined
  at::Tensor
      prefix;  // (B, T) bool: tokens that a mixer may read as a whole; only if the task supplies it
  Stretch* stretch = nullptr;  // the ranks that hold the other parts of these sequences, where the
                               // mixer's traits claim it and state is null; null: they are all here
  Probe* probe = nullptr;
};

}  // namespace echo
