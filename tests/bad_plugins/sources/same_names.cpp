// Two of these have the same names for everything but the kind: neither may see the other's.
#include <echo/plugin.h>

#include <ATen/ATen.h>

struct SharedOptions {
  void visit(echo::Fields&) {}
};

inline double& factor() {
  static double factor = FACTOR;
  return factor;
}

double global_factor = FACTOR;

class SharedMixer final : public echo::Mixer {
 public:
  SharedMixer(const SharedOptions&, const echo::Place& place) : Mixer(place) {}
  const echo::Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const echo::Span&) override {
    return x * factor() * global_factor;
  }

 private:
  echo::Traits traits_{.memory = echo::Memory::none};
};

void load_shared(echo::Registry& registry) {
  registry.add_mixer<SharedMixer, SharedOptions>(PLUGIN "/scale", "Times a number, twice");
}

ECHO_PLUGIN(PLUGIN, "0.1", "A test", PLUGIN "/scale", load_shared)
