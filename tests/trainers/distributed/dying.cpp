// A mixer that passes its input on, until a rank is to die: ECHO_TEST_DEATH="forward 1 7" kills
// rank 1 in its seventh forward pass of training, "backward 1 7" in the backward pass.
#include <echo/plugin.h>

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string>

#include <ATen/ATen.h>

namespace {

struct Options {
  void visit(echo::Fields&) {}
};

// Where this process is to die; empty: nowhere.
struct Death {
  std::string place;
  int64_t pass = 0;
};

Death death_of_this_process() {
  const char* const text = std::getenv("ECHO_TEST_DEATH");
  const char* const rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (!text || !rank) return {};
  Death death;
  std::string who;
  std::istringstream(text) >> death.place >> who >> death.pass;
  return who == rank ? death : Death();
}

class Dying final : public echo::Mixer {
 public:
  Dying(const Options&, const echo::Place& place)
      : Mixer(place), scale_(parameter("scale", {1}, echo::init::ones())) {}
  const echo::Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const echo::Span&) override {
    const at::Tensor y = x * scale_.to(x.scalar_type());
    if (!y.requires_grad() || ++passes_ != death_.pass) return y;
    if (death_.place == "forward") std::raise(SIGKILL);
    y.register_hook([](const at::Tensor& gradient) {
      std::raise(SIGKILL);
      return gradient;
    });
    return y;
  }

 private:
  at::Tensor scale_;
  Death death_ = death_of_this_process();
  int64_t passes_ = 0;
  echo::Traits traits_{.memory = echo::Memory::none};
};

void load(echo::Registry& registry) {
  registry.add_mixer<Dying, Options>("dying/identity", "passes its input on");
}

}  // namespace

ECHO_PLUGIN("dying", "0.1", "a rank's end", "dying/identity", load)
