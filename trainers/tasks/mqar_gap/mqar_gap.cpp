#include "trainers/tasks/mqar_gap/mqar_gap.h"

#include "trainers/tasks/shared/splits.h"

#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/sizes.h>

namespace echo {

void MqarGapOptions::visit(Fields& fields) {
  fields("pairs", pairs, "keys with a value; at most vocabulary / 4", count_from(1));
  fields("gap", gap, "tokens of filler between the last pair and the first query", count_from(0));
  synthetic.visit(fields);
}

void MqarGapOptions::complete(const TaskPlace&) {
  synthetic.check();
  const int64_t keys = Alphabet{synthetic.vocabulary}.keys();
  if (pairs <= keys) return;
  throw FieldError("pairs", std::to_string(pairs) + " pairs, but a vocabulary of " +
                                std::to_string(synthetic.vocabulary) + " has " +
                                std::to_string(keys) +
                                " keys (a quarter); take fewer, or a vocabulary of at least " +
                                std::to_string(4 * pairs));
}

MqarGap::MqarGap(const MqarGapOptions& options, const TaskPlace& place)
    : options_(options),
      alphabet_{options.synthetic.vocabulary},
      seed_(options.synthetic.seed_of(place)) {}

TaskInfo MqarGap::info() const {
  TaskInfo info;
  info.vocabulary = alphabet_.vocabulary;
  info.length = 4 * options_.pairs + options_.gap;
  info.validation_samples = options_.synthetic.validation_samples;
  info.test_samples = options_.synthetic.test_samples;
  info.prefix = true;
  info.levels["key-blind"] = 1.0 / static_cast<double>(options_.pairs);
  info.levels["uninformed"] = 1.0 / static_cast<double>(alphabet_.values());
  return info;
}

Sample MqarGap::sample(Split split, int64_t index) const {
  Draw draw(alphabet_, sample_seed(seed_, "mqar_gap", split, index));
  const std::vector<int64_t> keys = draw.keys(options_.pairs);
  const std::vector<int64_t> values = draw.values(options_.pairs);
  Sample sample;
  for (int64_t i = 0; i < options_.pairs; ++i) {
    sample.add(keys[i]);
    sample.add(values[i]);
  }
  sample.add(draw.filler(options_.gap));
  for (const int64_t i : draw.choose(options_.pairs, options_.pairs)) {
    sample.add(token::kQuery);
    sample.add(keys[i], values[i]);
  }
  return sample;
}

Batch MqarGap::batch(Split split, int64_t first, int64_t count) const {
  return synthetic_batch(first, count, [&](int64_t index) { return sample(split, index); });
}

std::string MqarGap::show(const Batch& batch, int64_t row) const {
  return show_synthetic(alphabet_, batch, row);
}

namespace {

void load(Registry& registry) {
  registry.add_task<MqarGap, MqarGapOptions>(
      "mqar_gap", "associative recall over a gap: pairs, filler, then every key once");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("mqar_gap", "0.1.0", "associative recall over a gap", "mqar_gap", echo::load)
