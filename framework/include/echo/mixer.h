#pragma once

#include <echo/module.h>
#include <echo/span.h>

#include <memory>

namespace echo {

// Where a mixer stands in a model, and what its parameters are made of.
struct Place {
  int64_t width = 0;                                                  // D
  int64_t layer = 0;                                                  // index of its block
  int64_t layers = 1;                                                 // blocks of the model
  at::TensorOptions options = at::TensorOptions().dtype(at::kFloat);  // may be on the meta device
};

enum class Memory { none, constant, growing };

// What a mixer can do. A recipe that asks for more is refused when it is read.
struct Traits {
  Memory memory = Memory::constant;
  bool causal = true;
  bool starts = true;         // honours Span::starts
  bool lengths = true;        // honours Span::lengths
  bool bfloat16 = true;       // x may be bfloat16
  bool needs_prefix = false;  // reads Span::prefix: the task must supply it
  bool stretch = false;       // honours Span::stretch
  // Decoding one token without gradients is the same operations on tensors of the same shapes
  // whatever the position, as long as a growing memory has room: so they can be recorded once and
  // replayed (CUDA graphs). Not the first token after a longer stretch.
  bool replays = false;
  int64_t renewal = 0;        // .. but at positions that are multiples of it; 0: at every position
  int64_t state_version = 1;  // grows when the state's layout or meaning changes
};

// (x, Span) -> y, and updates a State. One forward serves training (no state), prefill (a fresh
// state) and decoding (a stretch of one token): a mixer picks its kernel from T and from whether
// gradients are on, never from values. It allocates nothing that grows with T squared unless its
// README says so, and never synchronises with the host.
class Mixer : public Module {
 public:
  explicit Mixer(const Place& place) : Module(place.options) {}

  // Checks shapes, calls forward, checks the result and advances the state. This is what callers
  // use.
  at::Tensor operator()(const at::Tensor& x, const Span& span);

  virtual const Traits& traits() const = 0;

  // An empty memory; the shapes of its tensors do not depend on values. Mixers without memory keep
  // the default.
  virtual State initial_state(const StateOptions& options) const;

  // Floating-point operations of one forward pass (a multiply-add counts as two).
  virtual int64_t flops(int64_t batch, int64_t length) const = 0;

 protected:
  // (B, T, D) -> (B, T, D), dtype of x. Reads span.state's position, does not advance it.
  virtual at::Tensor forward(const at::Tensor& x, const Span& span) = 0;
};

}  // namespace echo
