// A plugin in several builds: VERSION is its own, STATE_VERSION that of its mixer's state.
#include <echo/plugin.h>

#include <ATen/ATen.h>

namespace {

struct Options {
  void visit(echo::Fields&) {}
};

class Scale final : public echo::Mixer {
 public:
  Scale(const Options&, const echo::Place& place)
      : Mixer(place), scale_(parameter("scale", {1}, echo::init::ones())) {}
  const echo::Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const echo::Span&) override {
    return x * scale_.to(x.scalar_type());
  }

 private:
  at::Tensor scale_;
  echo::Traits traits_{.memory = echo::Memory::none, .state_version = STATE_VERSION};
};

void load(echo::Registry& registry) {
  registry.add_mixer<Scale, Options>("versions/scale", "Times a number that it learns");
}

}  // namespace

ECHO_PLUGIN("versions", VERSION, "A test", "versions/scale", load)
