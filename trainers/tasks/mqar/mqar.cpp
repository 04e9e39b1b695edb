#include "trainers/tasks/mqar/mqar.h"

#include "framework/src/text/near.h"
#include "trainers/tasks/shared/permuted.h"
#include "trainers/tasks/shared/splits.h"

#include <echo/plugin.h>
#include <echo/random.h>
#include <echo/sizes.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kLargestSeed = 0xffffffff;

// Every pair needs a slot of its own, and a slot of weight 0 is never drawn.
void check_power(const MqarOptions& options, int64_t length, int64_t pairs,
                 const std::string& prefix) {
  const MqarShape shape{.vocabulary = options.vocabulary,
                        .length = length,
                        .pairs = pairs,
                        .power = options.power,
                        .fill = options.fill};
  const std::vector<double> weights = slot_weights(shape);
  const auto drawn =
      std::count_if(weights.begin(), weights.end(), [](double weight) { return weight > 0; });
  if (drawn >= pairs) return;
  throw FieldError("power", "is so large that of " + std::to_string(shape.slots()) +
                                " places for a query only " + std::to_string(drawn) +
                                " would ever be drawn, fewer than the " + std::to_string(pairs) +
                                " of " + prefix + "pairs; take a smaller power (zoology: 0.01)");
}

void check_shape(const MqarOptions& options, int64_t length, int64_t pairs,
                 const std::string& prefix) {
  const int64_t vocabulary = options.vocabulary;
  if (length % 2 != 0) {
    throw FieldError(prefix + "length",
                     std::to_string(length) +
                         " is odd, but a row has an even number of tokens; take " +
                         std::to_string(length - 1) + " or " + std::to_string(length + 1));
  }
  if (vocabulary <= length) {
    throw FieldError("vocabulary", std::to_string(vocabulary) + " is too small for " + prefix +
                                       "length " + std::to_string(length) + "; take at least " +
                                       std::to_string(length + 1));
  }
  if (4 * pairs > length) {
    throw FieldError(prefix + "pairs", std::to_string(pairs) + " pairs do not fit into length " +
                                           std::to_string(length) + ", which has room for " +
                                           std::to_string(length / 4) +
                                           " (length / 4); take fewer, or a length of at least " +
                                           std::to_string(4 * pairs));
  }
  check_power(options, length, pairs, prefix);
}

void check_segments(const MqarOptions& options, const std::vector<MqarSegment>& segments,
                    const std::string& list) {
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::string prefix = "segments." + list + "." + std::to_string(i) + ".";
    check_shape(options, segments[i].length, segments[i].pairs, prefix);
  }
}

std::string length_and_pairs(const MqarShape& shape) {
  return std::to_string(shape.length) + "/" + std::to_string(shape.pairs);
}

bool same(const MqarShape& a, const MqarShape& b) {
  return a.length == b.length && a.pairs == b.pairs;
}

int64_t total_samples(const std::vector<std::unique_ptr<MqarPart>>& parts) {
  int64_t total = 0;
  for (const auto& part : parts) total += part->samples();
  return total;
}

}  // namespace

void MqarSegment::visit(Fields& fields) {
  fields("length", length, "tokens of a row; even", count_from(4));
  fields("pairs", pairs, "keys with a value in a row; at most length / 4", count_from(1));
  fields("samples", samples, "rows", count_from(1));
}

void MqarSegments::visit(Fields& fields) {
  fields.sections("train", train, "sets to train on; none: length, pairs and samples say it");
  fields.sections("test", test, "sets to test on; none: rows of length and pairs");
}

void MqarOptions::visit(Fields& fields) {
  fields("vocabulary", vocabulary, "token ids; larger than length", rows_from(5));
  fields("samples", samples, "rows of the training set, the same every epoch; 0: fresh data",
         count_from(0));
  fields("length", length, "tokens of a row; even", count_from(4));
  fields("pairs", pairs, "keys with a value in a row; at most length / 4", count_from(1));
  fields("power", power, "where a key is asked: weights (slot + 1)^(power - 1)", above(0));
  fields("seed", seed, "of the data; null: the run's",
         between(0, static_cast<double>(kLargestSeed)));
  fields("fill", fill, "random tokens, not zeros, between the queries");
  fields.section("segments", segments, "a data set of several shapes, drawn as zoology does");
  fields.choice("order", order,
                {{"shuffled", MqarOrder::shuffled}, {"zoology", MqarOrder::zoology}},
                "batches of segments.train: shuffled every epoch, or one segment after another");
  fields("validation_samples", validation_samples, "fresh rows for the choice of a learning rate",
         count_from(0));
  fields("test_samples", test_samples, "fresh rows for the test, without segments.test",
         count_from(0));
}

void MqarOptions::complete(const TaskPlace& place) {
  check_shape(*this, length, pairs, "");
  check_segments(*this, segments.train, "train");
  check_segments(*this, segments.test, "test");
  if (samples > 0 && !segments.train.empty()) {
    throw FieldError(
        "samples", "stands beside segments.train, and both say what to train on; take one of them");
  }
  const bool draws_sets = samples > 0 || !segments.train.empty() || !segments.test.empty();
  if (draws_sets && !seed && place.seed > static_cast<uint64_t>(kLargestSeed)) {
    throw FieldError("seed", "the run's seed " + std::to_string(place.seed) +
                                 " is too large for a set; write a seed between 0 and 4294967295");
  }
}

std::unique_ptr<MqarPart> MqarPart::set(const MqarShape& shape, int64_t samples, uint32_t seed) {
  std::unique_ptr<MqarPart> part(new MqarPart(shape, samples));
  part->is_set_ = true;
  part->seed_ = seed;
  return part;
}

std::unique_ptr<MqarPart> MqarPart::stream(const MqarShape& shape, int64_t samples, uint64_t seed,
                                           Split split, int64_t first) {
  std::unique_ptr<MqarPart> part(new MqarPart(shape, samples));
  part->seed_ = seed;
  part->split_ = split;
  part->first_ = first;
  return part;
}

void MqarPart::write(int64_t row, int64_t* inputs, int64_t* labels) const {
  if (!is_set_) {
    const uint64_t seed = sample_seed(seed_, "mqar", split_, first_ + row);
    generator_.write(generator_.draw(1, static_cast<uint32_t>(seed)), 0, inputs, labels);
    return;
  }
  std::call_once(drawn_, [&] { rows_ = generator_.draw(samples_, static_cast<uint32_t>(seed_)); });
  generator_.write(rows_, row, inputs, labels);
}

Mqar::Mqar(const MqarOptions& options, const TaskPlace& place)
    : options_(options),
      place_(place),
      seed_(options.seed ? static_cast<uint64_t>(*options.seed) : place.seed) {
  Mersenne stream(static_cast<uint32_t>(seed_));
  const size_t train = options.segments.train.size();
  for (size_t i = 0; i < train + options.segments.test.size(); ++i)
    segment_seeds_.push_back((stream() & 0x7fffffffu) | (i < train ? 0 : 0x80000000u));
  make_train();
  make_test();
  make_validation();
  for (const Parts* parts : {&train_, &test_}) {
    for (const auto& part : *parts) {
      const auto known = std::find_if(shapes_.begin(), shapes_.end(), [&](const MqarShape& shape) {
        return same(shape, part->shape());
      });
      if (known == shapes_.end()) shapes_.push_back(part->shape());
    }
  }
}

MqarShape Mqar::shape(int64_t length, int64_t pairs) const {
  return {options_.vocabulary, length, pairs, options_.power, options_.fill};
}

void Mqar::make_train() {
  const auto& segments = options_.segments.train;
  for (size_t i = 0; i < segments.size(); ++i) {
    train_.push_back(MqarPart::set(shape(segments[i].length, segments[i].pairs),
                                   segments[i].samples, segment_seeds_[i]));
  }
  if (!train_.empty()) return;
  const MqarShape own = shape(options_.length, options_.pairs);
  train_.push_back(options_.samples > 0
                       ? MqarPart::set(own, options_.samples, static_cast<uint32_t>(seed_))
                       : MqarPart::stream(own, 0, seed_, Split::train, 0));
}

void Mqar::make_test() {
  const auto& segments = options_.segments.test;
  const size_t first_seed = options_.segments.train.size();
  for (size_t i = 0; i < segments.size(); ++i) {
    test_.push_back(MqarPart::set(shape(segments[i].length, segments[i].pairs), segments[i].samples,
                                  segment_seeds_[first_seed + i]));
  }
  if (test_.empty() && options_.test_samples > 0) {
    test_.push_back(MqarPart::stream(shape(options_.length, options_.pairs), options_.test_samples,
                                     seed_, Split::test, 0));
  }
}

// The shapes of the test, in equal shares.
void Mqar::make_validation() {
  std::vector<MqarShape> shapes;
  for (const MqarSegment& segment : options_.segments.test)
    shapes.push_back(shape(segment.length, segment.pairs));
  if (shapes.empty()) shapes.push_back(shape(options_.length, options_.pairs));
  const auto count = static_cast<int64_t>(shapes.size());
  int64_t first = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t end = options_.validation_samples * (i + 1) / count;
    if (end > first) {
      validation_.push_back(
          MqarPart::stream(shapes[i], end - first, seed_, Split::validation, first));
    }
    first = end;
  }
}

const Mqar::Parts& Mqar::parts(Split split) const {
  return split == Split::train ? train_ : split == Split::validation ? validation_ : test_;
}

// Training batches that a segment fills, its last one perhaps in part.
int64_t Mqar::batches(const MqarPart& part) const {
  return (part.samples() + place_.batch - 1) / place_.batch;
}

TaskInfo Mqar::info() const {
  TaskInfo info;
  info.vocabulary = options_.vocabulary;
  for (const MqarShape& shape : shapes_) info.length = std::max(info.length, shape.length);
  info.train_samples = options_.samples;
  if (!options_.segments.train.empty()) {
    for (const auto& part : train_) info.train_samples += batches(*part) * place_.batch;
  }
  info.validation_samples = total_samples(validation_);
  info.test_samples = total_samples(test_);
  info.prefix = true;
  if (shapes_.size() > 1) info.slice_by = "length/pairs";
  const Parts& scored = test_.empty() ? train_ : test_;
  double key_blind = 0;
  for (const auto& part : scored) {
    const auto weight = static_cast<double>(std::max<int64_t>(part->samples(), 1));
    key_blind += weight / static_cast<double>(part->shape().pairs);
  }
  const auto values = static_cast<double>(options_.vocabulary - options_.vocabulary / 2);
  info.levels["key-blind"] =
      key_blind / static_cast<double>(std::max<int64_t>(total_samples(scored), 1));
  info.levels["uninformed"] = 1 / values;
  return info;
}

// Segments are served in whole batches: every segment takes a multiple of place_.batch indices of
// an epoch, and those beyond its last row are empty rows.
Mqar::Row Mqar::train_row(int64_t index) const {
  if (options_.segments.train.empty()) {
    const int64_t samples = train_[0]->samples();
    return {train_[0].get(), samples > 0 ? index % samples : index};
  }
  int64_t all = 0;
  for (const auto& part : train_) all += batches(*part);
  const int64_t epoch = index / place_.batch / all;
  int64_t batch = index / place_.batch % all;
  if (options_.order == MqarOrder::shuffled)
    batch = permuted(batch, all, derive_seed(place_.seed, "mqar/order", epoch));
  size_t segment = 0;
  while (batch >= batches(*train_[segment])) batch -= batches(*train_[segment++]);
  const int64_t row = batch * place_.batch + index % place_.batch;
  return {train_[segment].get(), row < train_[segment]->samples() ? row : -1};
}

Mqar::Row Mqar::find(Split split, int64_t index) const {
  ECHO_CHECK(index >= 0, << "sample " << index);
  if (split == Split::train) return train_row(index);
  int64_t row = index;
  for (const auto& part : parts(split)) {
    if (row < part->samples()) return {part.get(), row};
    row -= part->samples();
  }
  ECHO_CHECK(false, << "sample " << index << " of the " << split_name(split) << " split");
}

Batch Mqar::batch(Split split, int64_t first, int64_t count) const {
  const int64_t length = find(split, first).part->shape().length;
  const at::TensorOptions integers(at::kLong);
  Batch batch;
  batch.inputs = at::zeros({count, length}, integers);
  batch.labels = at::full({count, length}, -100, integers);
  batch.prefix = at::zeros({count, length}, integers.dtype(at::kBool));
  at::Tensor slices = at::zeros({count}, integers);
  for (int64_t i = 0; i < count; ++i) {
    const Row found = find(split, first + i);
    const MqarShape& shape = found.part->shape();
    if (shape.length != length) {
      throw Error("rows " + std::to_string(first) + " and " + std::to_string(first + i) +
                  " of the " + split_name(split) + " split have " + std::to_string(length) +
                  " and " + std::to_string(shape.length) +
                  " tokens and cannot be in one batch; take fewer rows, or segments of one length");
    }
    if (found.row >= 0) {
      found.part->write(found.row, batch.inputs.mutable_data_ptr<int64_t>() + i * length,
                        batch.labels.mutable_data_ptr<int64_t>() + i * length);
    }
    bool* prefix = batch.prefix.mutable_data_ptr<bool>() + i * length;
    std::fill_n(prefix, 2 * shape.pairs, true);
    slices.mutable_data_ptr<int64_t>()[i] = slice(shape);
  }
  if (shapes_.size() > 1) batch.slice = slices;
  return batch;
}

// A batch never mixes segments.
Scores Mqar::evaluate(Evaluator& model, Split split) const {
  Scores scores;
  const int64_t total = total_samples(parts(split));
  int64_t first = 0;
  for (const auto& part : parts(split)) {
    const int64_t end = first + part->samples();
    while (first < end) {
      const int64_t count = std::min(model.batch_size(), end - first);
      add(scores, score(model, batch(split, first, count)));
      first += count;
      model.progress(first, total);
    }
  }
  return scores;
}

int64_t Mqar::slice(const MqarShape& shape) const {
  for (size_t i = 0; i < shapes_.size(); ++i) {
    if (same(shapes_[i], shape)) return static_cast<int64_t>(i);
  }
  return -1;
}

std::string Mqar::slice_name(int64_t slice) const { return length_and_pairs(shapes_.at(slice)); }

std::string Mqar::show(const Batch& batch, int64_t row) const {
  const int64_t slice = batch.slice.defined() ? batch.slice[row].item<int64_t>() : 0;
  const MqarShape& shape = shapes_.at(slice);
  const at::Tensor inputs = batch.inputs[row].contiguous();
  const at::Tensor labels = batch.labels[row].contiguous();
  const int64_t* input = inputs.const_data_ptr<int64_t>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  if ((labels == -100).all().item<bool>()) return "empty: fills the last batch of a segment up";
  const auto key = [](int64_t id) { return "k" + std::to_string(id); };
  const auto value = [&](int64_t id) { return "v" + std::to_string(id - shape.first_value()); };

  std::vector<std::string> context;
  for (int64_t i = 0; i < shape.pairs; ++i)
    context.push_back(key(input[2 * i]) + "→" + value(input[2 * i + 1]));
  std::vector<std::string> rest;
  int64_t filler = 0;
  for (int64_t t = 2 * shape.pairs; t <= shape.length; ++t) {
    if (t < shape.length && label[t] == -100) {
      ++filler;
      continue;
    }
    if (filler > 0) rest.push_back("…" + std::to_string(filler) + "…");
    filler = 0;
    if (t < shape.length) rest.push_back(key(input[t]) + "?→" + value(label[t]));
  }
  return "context  " + join(context, " ") + "\nqueries  " + join(rest, " ");
}

namespace {

void load(Registry& registry) {
  registry.add_task<Mqar, MqarOptions>(
      "mqar", "multi-query associative recall, bit-exact to zoology's data");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("mqar", "0.1.0", "multi-query associative recall", "mqar", echo::load)
