// Mixers that are right for some forward passes, then wrong, each in its own way.
#include <echo/plugin.h>

#include <cstdlib>
#include <limits>
#include <stdexcept>

#include <ATen/ATen.h>

namespace {

struct Options {
  int64_t after = 0;  // passes of training that are right

  void visit(echo::Fields& fields) {
    fields("after", after, "passes of training that are right", echo::at_least(0));
  }
};

enum class Wrong { throws, throws_a_number, narrow, nothing, nan, modifies, backward, dies };

template <Wrong wrong>
class Turning final : public echo::Mixer {
 public:
  Turning(const Options& options, const echo::Place& place)
      : Mixer(place), after_(options.after), scale_(parameter("scale", {1}, echo::init::ones())) {}
  const echo::Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const echo::Span&) override {
    const at::Tensor y = x * scale_.to(x.scalar_type());
    if (!y.requires_grad() || passes_++ < after_) return y;
    switch (wrong) {
      case Wrong::throws:
        throw std::runtime_error("the table is full");
      case Wrong::throws_a_number:
        throw 42;
      case Wrong::narrow:
        return y.narrow(2, 0, x.size(2) - 1);
      case Wrong::nothing:
        return {};
      case Wrong::nan:
        return y * std::numeric_limits<double>::quiet_NaN();
      case Wrong::modifies:
        x.detach().mul_(2);
        return y;
      case Wrong::backward:
        y.register_hook(
            [](const at::Tensor&) -> at::Tensor { throw std::runtime_error("no derivative"); });
        return y.clone();
      case Wrong::dies:
        std::abort();
    }
    return y;
  }

 private:
  int64_t after_;
  at::Tensor scale_;
  int64_t passes_ = 0;
  echo::Traits traits_{.memory = echo::Memory::none};
};

void load(echo::Registry& registry) {
  registry.add_mixer<Turning<Wrong::throws>, Options>("turns/throws", "Throws");
  registry.add_mixer<Turning<Wrong::throws_a_number>, Options>("turns/number", "Throws 42");
  registry.add_mixer<Turning<Wrong::narrow>, Options>("turns/narrow", "Returns another shape");
  registry.add_mixer<Turning<Wrong::nothing>, Options>("turns/nothing", "Returns no tensor");
  registry.add_mixer<Turning<Wrong::nan>, Options>("turns/nan", "Returns NaN");
  registry.add_mixer<Turning<Wrong::modifies>, Options>("turns/modifies", "Changes its input");
  registry.add_mixer<Turning<Wrong::backward>, Options>("turns/backward", "Throws backward");
  registry.add_mixer<Turning<Wrong::dies>, Options>("turns/dies", "Dies of a signal");
}

}  // namespace

ECHO_PLUGIN("turns", "0.1", "A test",
            "turns/throws,turns/number,turns/narrow,turns/nothing,turns/nan,turns/modifies,"
            "turns/backward,turns/dies",
            load)
