#include <echo/linear.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <ATen/ATen.h>

// A gated average: every head keeps a running average, and the token says how much of it stays.
//
//     keep_t = sigmoid(keep(x_t))                              one number per head
//     S_t = keep_t S_{t-1} + (1 - keep_t) value(x_t);   y_t = out(S_t)
namespace plugin_name {

using at::Tensor;

// What a recipe may say: {kind: plugin_name/average, heads: 8}.
struct Options {
  int64_t heads = 4;
  int64_t head_width = 16;

  void visit(echo::Fields& fields) {
    fields("heads", heads, "averages, each with a rate of its own", echo::size_from(1));
    fields("head_width", head_width, "channels of an average", echo::size_from(1));
  }
};

class Average final : public echo::Mixer {
 public:
  Average(const Options& options, const echo::Place& place)
      : Mixer(place), heads_(options.heads), width_(options.head_width) {
    using Blocks = std::vector<echo::LinearBlock>;
    const Blocks inputs = {{"value", heads_ * width_}, {"keep", heads_}};
    input_ = &child("", std::make_unique<echo::Linear>(place.width, inputs, place.options));
    output_ = &child("", std::make_unique<echo::Linear>(
                             heads_ * width_, Blocks{{"out", place.width}}, place.options));
  }

  const echo::Traits& traits() const override { return traits_; }

  echo::State initial_state(const echo::StateOptions& options) const override {
    echo::State state(options.batch, options.device);
    state.add("S", at::zeros({options.batch, heads_, width_, 1},
                             at::TensorOptions().dtype(statistics_dtype()).device(options.device)));
    return state;
  }

  // Of one pass, a multiply-add as two.
  int64_t flops(int64_t batch, int64_t length) const override {
    const int64_t tokens = batch * length, chunk = std::min<int64_t>(length, 64);
    return input_->flops(tokens) + output_->flops(tokens) +
           2 * tokens * (chunk + heads_ * width_ * (chunk + 2));
  }

 protected:
  // x (B, T, D) -> (B, T, D), and the state from before the stretch to after it.
  Tensor forward(const Tensor& x, const echo::Span& span) override {
    const std::vector<Tensor> parts = input_->split(x);
    const Tensor value = parts[0].to(statistics_dtype()).unflatten(2, {1, heads_, width_});
    const Tensor keep = parts[1].to(statistics_dtype());  // (B, T, H), before the sigmoid
    const Tensor rest = at::sigmoid(-keep).unsqueeze(2).unsqueeze(4);
    const Tensor one = at::ones({x.size(0), x.size(1), 1, 1, 1}, value.options());
    const Tensor memory = span.state ? span.state->get("S") : Tensor();
    const echo::Scanned scanned =
        echo::state_space_scan(rest * value, at::log_sigmoid(keep), one, one, memory, span);
    if (span.state) span.state->set("S", scanned.memory);
    return (*output_)(scanned.y.flatten(2).to(x.scalar_type()));
  }

 private:
  int64_t heads_, width_;
  echo::Traits traits_;  // what it can do; see <echo/mixer.h>
  echo::Linear *input_, *output_;
};

void load(echo::Registry& registry) {
  registry.add_mixer<Average, Options>("plugin_name/average", "a running average with a gate");
}

}  // namespace plugin_name

// Name, version, summary, every kind that load() registers, load().
ECHO_PLUGIN("plugin_name", "0.1.0", "A gated average", "plugin_name/average", plugin_name::load)
