#pragma once

#include "framework/src/model/fixed_state.h"
#include "framework/src/model/model.h"
#include "framework/src/recording.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace echo {

// Reads one sequence of tokens, without gradients: a prompt in stretches, then one token at a time.
// Where a recorder is given and every mixer of the model allows it (Traits::replays), single tokens
// are recorded once and replayed, which spares the host the work of starting them.
class Decoder {
 public:
  // capacity: tokens that growing memories hold without growing; past it nothing is replayed.
  Decoder(Model& model, int64_t capacity, WorkRecorder recorder);

  // The log-probabilities of the token after these, up to a constant: (V), float32 on the CPU.
  at::Tensor read(const int64_t* tokens, int64_t count);

  int64_t replayed() const { return replayed_; }  // tokens so far

 private:
  at::Tensor forward(const at::Tensor& input);
  void forget();
  void settle();
  void step();
  void replay();
  std::unique_ptr<Recording> record();
  void count(int64_t position);

  Model& model_;
  int64_t capacity_ = 0;
  int64_t renewal_ = 0;
  WorkRecorder recorder_;  // empty: nothing is replayed
  ModelState state_;
  at::Tensor input_, logits_;      // (1, 1), (V): where a recording reads and writes
  std::vector<FixedState> fixed_;  // empty: the last token was not read by itself
  std::unique_ptr<Recording> recording_;
  int64_t replayed_ = 0;
};

}  // namespace echo
