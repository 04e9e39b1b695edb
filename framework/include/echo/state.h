#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

// A state's memory as a kernel without gradients may write it in place: contiguous, and a copy
// where a graph leans on it. Undefined stays undefined.
at::Tensor writable(const at::Tensor& memory);

struct StateOptions {
  int64_t batch = 1;
  int64_t capacity = 0;  // tokens that a growing memory should hold without growing; 0: no guess
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // of x: what a cache of activations is kept in
};

enum class StateRole {
  memory,   // what one sequence must keep between two tokens: saved, counted by bytes()
  derived,  // can be rebuilt from the memory to the same bits: not saved, counted by
            // resident_bytes() only
};

struct StateEntry {
  at::Tensor value;  // (B, ...)
  StateRole role = StateRole::memory;
  int64_t ring = -1;  // >= 0: dimension of a ring; token p of a row stands at p modulo its size
};

struct Offsets;

// What a mixer remembers of the tokens that it has read: named tensors, batch first, and each row's
// position (tokens since its document began). Owned by the caller; used by one thread at a time.
// Move only: clone() copies. With gradients on, a forward pass replaces the tensors (gradients flow
// through a state that requires them); with gradients off it may write in place.
class State {
 public:
  explicit State(int64_t batch = 1, at::Device device = at::kCPU);
  ~State();
  State(State&&) noexcept;
  State& operator=(State&&) noexcept;

  int64_t batch() const;
  at::Device device() const;

  void add(const std::string& name, at::Tensor value, StateRole role = StateRole::memory,
           int64_t ring = -1);
  bool has(const std::string& name) const;
  const at::Tensor& get(
      const std::string& name) const;  // throws std::logic_error for an unknown name
  void set(const std::string& name, at::Tensor value);  // keeps role and ring
  void remove(const std::string& name);                 // derived data that has become invalid
  const std::map<std::string, StateEntry>& entries() const;

  const at::Tensor& position() const;  // (B) int64
  void set_position(at::Tensor position, int64_t longest);
  int64_t longest() const;  // a bound of position that the host knows without a synchronisation

  // After a stretch of `length` tokens. Called by Mixer, not by mixers.
  void advance(int64_t length, const at::Tensor& starts, const at::Tensor& lengths,
               const Offsets* offsets);

  // Memory in the order of time, oldest first, for a state whose rows have all read `longest()`
  // tokens: rings are unrolled and cut to what has been written. load_ordered is the inverse.
  at::Tensor ordered(const std::string& name) const;
  void load_ordered(const std::string& name, const at::Tensor& value);

  int64_t bytes() const;           // memory
  int64_t resident_bytes() const;  // memory and derived data

  State clone() const;   // deep
  State detach() const;  // shares tensors, cut from the graph
  State to(at::Device device) const;
  State select(const at::Tensor& rows) const;            // rows (N) int64
  void put(const at::Tensor& rows, const State& other);  // row rows[i] becomes row i of other

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace echo
