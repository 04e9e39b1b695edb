#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/random.h>
#include <echo/sizes.h>

#include <ATen/ATen.h>

// A delayed copy: random tokens, and at every place the answer is the token `delay` places before.
namespace plugin_name {

using at::Tensor;

// What a recipe may say: {kind: plugin_name/copy, delay: 8}.
struct Options {
  int64_t vocabulary = 16;
  int64_t length = 32;
  int64_t delay = 4;

  void visit(echo::Fields& fields) {
    fields("vocabulary", vocabulary, "tokens to choose from", echo::rows_from(2));
    fields("length", length, "tokens of a sample", echo::count_from(2));
    fields("delay", delay, "places between a token and its copy", echo::count_from(1));
  }

  void complete(const echo::TaskPlace&) {
    if (delay < length) return;
    throw echo::FieldError("delay", "delay is " + std::to_string(delay) +
                                        ", and a sample has only " + std::to_string(length) +
                                        " tokens; choose a smaller one");
  }
};

class Copy final : public echo::Task {
 public:
  Copy(const Options& options, const echo::TaskPlace& place) : options_(options), place_(place) {}

  echo::TaskInfo info() const override {
    echo::TaskInfo info;
    info.vocabulary = options_.vocabulary;
    info.length = options_.length;
    info.validation_samples = info.test_samples = 256;  // the train split never ends
    info.levels["uninformed"] = 1.0 / static_cast<double>(options_.vocabulary);
    return info;
  }

  // A sample depends on the seed, the split and its index, and on nothing else.
  echo::Batch batch(echo::Split split, int64_t first, int64_t count) const override {
    std::vector<Tensor> rows;
    for (int64_t index = first; index < first + count; ++index) {
      const std::string purpose = std::string("plugin_name/copy ") + echo::split_name(split);
      const at::Generator random =
          echo::generator(place_.seed, purpose, static_cast<uint64_t>(index));
      rows.push_back(at::randint(0, options_.vocabulary, {options_.length}, random, at::kLong));
    }
    echo::Batch batch;
    batch.inputs = at::stack(rows);
    batch.labels = at::full_like(batch.inputs, -100);  // -100: not scored
    const int64_t copied = options_.length - options_.delay;
    batch.labels.narrow(1, options_.delay, copied).copy_(batch.inputs.narrow(1, 0, copied));
    return batch;
  }

 private:
  Options options_;
  echo::TaskPlace place_;
};

void load(echo::Registry& registry) {
  registry.add_task<Copy, Options>("plugin_name/copy", "the token of some places before");
}

}  // namespace plugin_name

// Name, version, summary, every kind that load() registers, load().
ECHO_PLUGIN("plugin_name", "0.1.0", "A delayed copy", "plugin_name/copy", plugin_name::load)
