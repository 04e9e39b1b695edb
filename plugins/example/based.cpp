#include <echo/error.h>
#include <echo/linear.h>
#include <echo/ops.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>

// Based: linear attention with the first three terms of the exponential's Taylor series as its
// feature map, so that phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(f). Equations and
// state: README.md. Arora et al., arXiv 2402.18668; flash-linear-attention, fla/layers/based.py.
namespace example {

using at::Tensor;

struct BasedOptions {
  int64_t heads = 4;
  int64_t feature_width = 16;
  std::optional<int64_t> value_width;
  double denominator_eps = 1e-6;

  void visit(echo::Fields& fields) {
    fields("heads", heads, "heads of queries, keys and values", echo::size_from(1));
    fields("feature_width", feature_width,
           "dimensions of a query or key, f; it has 1 + f + f (f + 1) / 2 features",
           echo::between(1, 256));
    fields("value_width", value_width, "dimensions of a value; null: width / heads",
           echo::size_from(1));
    fields("denominator_eps", denominator_eps, "added to the sum of weights", echo::at_least(0));
  }

  void complete(const echo::Place& place) {
    if (!value_width) value_width = echo::head_width_of(place.width, heads, "value_width");
  }
};

class Based final : public echo::Mixer {
 public:
  Based(const BasedOptions& options, const echo::Place& place)
      : Mixer(place),
        heads_(options.heads),
        width_(options.feature_width),
        values_(options.value_width.value()),
        eps_(options.denominator_eps) {
    traits_.stretch = true;  // linear_attention takes care of it
    traits_.replays = true;  // so it does here
    using Blocks = std::vector<echo::LinearBlock>;
    const Blocks inputs = {
        {"q_proj", heads_ * width_}, {"k_proj", heads_ * width_}, {"v_proj", heads_ * values_}};
    input_ = &child("", std::make_unique<echo::Linear>(place.width, inputs, place.options));
    output_ = &child("", std::make_unique<echo::Linear>(
                             heads_ * values_, Blocks{{"o_proj", place.width}}, place.options));
  }

  const echo::Traits& traits() const override { return traits_; }

  echo::State initial_state(const echo::StateOptions& options) const override {
    const auto kept = at::TensorOptions().dtype(statistics_dtype()).device(options.device);
    echo::State state(options.batch, options.device);
    state.add("S", at::zeros({options.batch, heads_, features(), values_}, kept));
    state.add("z", at::zeros({options.batch, heads_, features()}, kept));
    return state;
  }

  int64_t flops(int64_t batch, int64_t length) const override {
    const int64_t tokens = batch * length, chunk = std::min<int64_t>(length, 64);
    const int64_t columns = values_ + 1;
    const int64_t head = 2 * chunk * (features() + columns) + 4 * features() * columns;
    return input_->flops(tokens) + output_->flops(tokens) + tokens * heads_ * head;
  }

 protected:
  Tensor forward(const Tensor& x, const echo::Span& span) override {
    const std::vector<Tensor> parts = input_->split(x);
    const auto per_head = [&](const Tensor& part, int64_t width) {  // (B, T, H, width)
      return part.unflatten(2, {heads_, width}).to(statistics_dtype());
    };
    const Tensor q = taylor(per_head(parts[0], width_)), k = taylor(per_head(parts[1], width_));
    const Tensor v = per_head(parts[2], values_);
    // A value of ones carries the sum of weights: z is one more column of S.
    const Tensor ones = at::ones({v.size(0), v.size(1), heads_, 1}, v.options());
    Tensor memory;
    if (span.state) memory = at::cat({span.state->get("S"), span.state->get("z").unsqueeze(3)}, 3);
    const echo::Attended read = echo::linear_attention(q, k, at::cat({v, ones}, 3), memory, span);
    if (span.state) {
      span.state->set("S", read.memory.narrow(3, 0, values_).contiguous());
      span.state->set("z", read.memory.select(3, values_).contiguous());
    }
    const Tensor o = read.o.narrow(3, 0, values_) / (read.o.narrow(3, values_, 1) + eps_);
    return (*output_)(o.flatten(2).to(x.scalar_type()));
  }

 private:
  int64_t features() const { return 1 + width_ + width_ * (width_ + 1) / 2; }

  // (B, T, H, f) -> (B, T, H, F): 1, x_i / f^(1/4), x_i^2 / sqrt(2 f), x_i x_j / sqrt(f) for i < j.
  Tensor taylor(const Tensor& x) const {
    const double root = std::sqrt(static_cast<double>(width_));
    const auto index = at::TensorOptions().dtype(at::kLong).device(x.device());
    const Tensor pairs = at::triu_indices(width_, width_, 1, index);
    const Tensor products = x.index_select(3, pairs[0]) * x.index_select(3, pairs[1]);
    return at::cat({at::ones_like(x.narrow(3, 0, 1)), x / std::sqrt(root),
                    x * x / (std::sqrt(2.0) * root), products / root},
                   3);
  }

  int64_t heads_, width_, values_;
  double eps_;
  echo::Traits traits_;
  echo::Linear *input_, *output_;
};

void load(echo::Registry& registry) {
  registry.add_mixer<Based, BasedOptions>(
      "example/based", "linear attention with a Taylor expansion of the exponential");
}

}  // namespace example

ECHO_PLUGIN("example", "0.1.0", "Based, as an example of a plugin", "example/based", example::load)
