#pragma once

#include <echo/testing.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace echo::testing {

// What a check throws when the mixer fails it; the message is the result's detail.
class Failure : public Error {
 public:
  using Error::Error;
};

// Throws Failure naming what was compared.
void expect_close(const std::string& what, const at::Tensor& value, const at::Tensor& reference,
                  double tolerance);
void expect_same_bits(const std::string& what, const at::Tensor& value,
                      const at::Tensor& reference);

// How a sequence is fed to a mixer.
struct Feed {
  std::vector<int64_t> cuts;   // rising: a new stretch begins before these tokens
  at::Tensor starts;           // (B, T) bool or undefined
  at::Tensor lengths;          // (B) int64 or undefined
  int64_t capacity = 0;        // of the state
  bool stateless = false;      // no state at all; needs one stretch
  Stretch* stretch = nullptr;  // x is a part; without a state
};

struct Outcome {
  at::Tensor y;  // (B, T, D)
  State state;
};

// One mixer under test: instances, inputs and runs, all derived from the seed.
class Subject {
 public:
  Subject(const MixerKind& kind, const Options& options, const CheckSettings& settings);

  const CheckSettings& settings() const { return settings_; }
  const Traits& traits() const { return traits_; }
  const MixerKind& kind() const { return kind_; }
  const Options& options() const { return *options_; }  // completed

  // A fresh instance; the same numbers in every one, rounded to float32.
  std::unique_ptr<Mixer> instance(at::ScalarType parameters) const;

  // The same numbers for the same name, whatever the dtype: rounded to bfloat16.
  at::Tensor input(const std::string& name, int64_t batch, int64_t length,
                   at::ScalarType dtype) const;

 private:
  const MixerKind& kind_;
  std::unique_ptr<Options> options_;
  CheckSettings settings_;
  Traits traits_;
};

// Feeds x (B, T, D), on from `state` if one is given, else from an empty one.
Outcome run(Mixer& mixer, const at::Tensor& x, const Feed& feed,
            std::optional<State> state = std::nullopt);

std::vector<int64_t> every_token(int64_t length);  // cuts

// Gradients of sum(y * w) with a fixed random w: of x first, then of every parameter by name.
struct Gradients {
  at::Tensor x;
  std::vector<std::pair<std::string, at::Tensor>> parameters;
};
Gradients gradients(const Subject& subject, Mixer& mixer, const at::Tensor& x, const Feed& feed);
void expect_close(const std::string& what, const Gradients& value, const Gradients& reference,
                  double tolerance);

// One row of a state whose bound is its own position, so that ordered() can be read. Waits for the
// device.
State row_of(const State& state, int64_t row);

// Compares what two states remember (not how large their rings are), row by row.
void expect_same_memory(const std::string& what, const State& value, const State& reference,
                        double tolerance);

}  // namespace echo::testing
