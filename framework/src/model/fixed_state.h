#pragma once

#include <echo/state.h>

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace echo {

// Keeps the tensors of a state where they are, so that work on it can be recorded once and
// replayed: mixers may replace tensors, and what they put in their place is copied into the first
// ones.
class FixedState {
 public:
  // Makes every tensor a contiguous one of its own. The state outlives this.
  explicit FixedState(State& state);

  // After a mixer has read a token: the state holds the first tensors again, with the new values.
  // Throws std::logic_error where an entry has come, gone, or changed its shape.
  void settle();

  // The state holds the first tensors again, as they are: what mixers have put in their place is
  // forgotten.
  void restore();

 private:
  State& state_;
  at::Tensor position_;
  std::map<std::string, StateEntry> entries_;
};

}  // namespace echo
