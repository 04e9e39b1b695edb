#pragma once

#include <echo/mixer.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

// What a mixer costs beside its own projections as plain matrix products: its *floor*. Times are
// those of one thread, in CPU seconds: the least of several rounds in which all that is compared
// takes turns, so that a busy machine delays everybody and favours nobody.
namespace echo::testing {

double thread_seconds();  // CPU time of the calling thread since it began

// Does something once and says how many seconds that took.
using Round = std::function<double()>;

// CPU seconds of this thread.
double timed(const std::function<void()>& work);

// The least of `rounds` turns of each. Stops before when turns take very long.
std::vector<double> least(const std::vector<Round>& works, int64_t rounds);

// The mixer's matrices, each as one product with an input of its own. Every leaf of two dimensions
// counts, at its padded size, but for small ones (kernels of convolutions, a gate's vectors): these
// belong to what a mixer does beside its projections. Biases do not count. Shares memory with the
// mixer's parameters; gradients go to leaves of its own.
class Floor {
 public:
  Floor(const Mixer& mixer, int64_t batch, int64_t length);

  const std::vector<at::Tensor>& matrices() const { return matrices_; }  // (outputs, inputs)
  void forward() const;
  void train() const;  // forward and backward, in the inputs, too

 private:
  std::vector<at::Tensor> matrices_, inputs_, gradients_;
};

struct SpeedOptions {
  int64_t width = 768;
  int64_t length = 2048;
  int64_t batch = 1;
  int64_t rounds = 9;
  // Tokens that a state has read before one token is timed. A mixer whose memory grows leaves those
  // out for which it would take more than kMostMemory; one without memory is timed once.
  std::vector<int64_t> contexts = {1 << 10, 1 << 14, 1 << 17, 1 << 20};
};

constexpr int64_t kMostMemory = int64_t{1} << 30;

struct SpeedRow {
  enum class Pass { forward, train, token };

  Pass pass = Pass::forward;
  std::optional<int64_t> context;  // of a token, where the mixer has memory
  double seconds = 0;
  double floor = 0;            // seconds of the mixer's projections
  std::optional<double> peer;  // seconds of somebody else's implementation

  // Of the mixer's time to its floor's; nothing where it has no matrices.
  std::optional<double> ratio() const;
};

// The name of a pass in tables and files: "forward", "forward and backward", "one token".
const char* pass_name(SpeedRow::Pass pass);

struct Speed {
  std::vector<SpeedRow> rows;
  std::vector<std::vector<int64_t>> matrices;  // of the floor: outputs, inputs
  int64_t peak_bytes = 0;  // held by tensors in forward and backward, parameters aside
};

// Seconds that somebody else's layer takes for a pass, once; nothing where it has no such pass. For
// one token: after a context, as in SpeedRow.
using PeerRound =
    std::function<std::optional<double>(SpeedRow::Pass, std::optional<int64_t> context)>;

// Sets the number of LibTorch's threads to one. The mixer stands on the CPU, initialised. `peer`
// may be null.
Speed measure_speed(Mixer& mixer, const SpeedOptions& options, const PeerRound& peer = nullptr);

}  // namespace echo::testing
