#pragma once

#include <echo/registry.h>

#include <memory>
#include <string>
#include <vector>

namespace echo {

// A mixer that another one shall hold: its kind, and its options as a recipe has chosen them. An
// option `std::vector<MixerChoice> mixers` is a field like any other; recipes write it
//
//     mixers: [{kind: attention, heads: 4}, {kind: mamba2}, recall]
//
// where a word is a name of model.mixers, or else a kind with its defaults.
struct MixerChoice {
  MixerKind kind;
  std::unique_ptr<Options> options;

  MixerChoice() = default;
  MixerChoice(const MixerKind& kind, std::unique_ptr<Options> options);
  MixerChoice(const MixerChoice& other);
  MixerChoice(MixerChoice&&) = default;
  MixerChoice& operator=(MixerChoice other);

  // Fills derived defaults in, and makes the mixer. `path` ("mixers.1") stands before the field of
  // a FieldError.
  void complete(const Place& place, const std::string& path);
  std::unique_ptr<Mixer> make(const Place& place, const std::string& path) const;
};

// Mixers inside of a mixer, which read the same tokens and keep what they remember in its state:
// member n's entries are called "<n>.<name>". It owns none of them.
class Members {
 public:
  void add(Mixer& mixer) { mixers_.push_back(&mixer); }
  size_t size() const { return mixers_.size(); }

  // What all of them can do; memory: the most that one of them has.
  Traits traits() const;
  State initial_state(const StateOptions& options) const;
  int64_t flops(int64_t batch, int64_t length) const;

  // Member n's (B, T, D) -> (B, T, D). Reads and replaces its part of span.state, whose position it
  // leaves to the caller.
  at::Tensor operator()(size_t n, const at::Tensor& x, const Span& span) const;

 private:
  std::vector<Mixer*> mixers_;
};

}  // namespace echo
