// A plugin with one mixer; the build makes wrong ones of it by definitions.
#include <echo/plugin.h>

#ifdef TORCH_VERSION_OVERRIDE
#undef TORCH_VERSION
#define TORCH_VERSION TORCH_VERSION_OVERRIDE
#endif
#ifndef KIND
#define KIND "test/identity"
#endif
#ifndef KINDS
#define KINDS KIND
#endif

namespace {

struct Options {
  void visit(echo::Fields&) {}
};

class Identity final : public echo::Mixer {
 public:
  Identity(const Options&, const echo::Place& place) : Mixer(place) {}
  const echo::Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const echo::Span&) override { return x; }

 private:
  echo::Traits traits_{.memory = echo::Memory::none};
};

[[maybe_unused]] void load(echo::Registry& registry) {
  registry.add_mixer<Identity, Options>(KIND, "Returns its input");
#ifdef THROWS
  throw echo::Error("no licence");
#endif
}

}  // namespace

#ifndef NO_NOTE
ECHO_PLUGIN("test", "0.1", "A test", KINDS, load)
#endif
