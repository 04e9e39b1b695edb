#include "trainers/tasks/shared/synthetic.h"

#include "framework/src/text/near.h"

#include <echo/error.h>
#include <echo/sizes.h>

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

namespace echo {

namespace {

std::vector<int64_t> numbered(int64_t size, int64_t first) {
  std::vector<int64_t> items(size);
  std::iota(items.begin(), items.end(), first);
  return items;
}

void add_offset(std::vector<int64_t>& ids, int64_t offset) {
  for (int64_t& id : ids) id += offset;
}

}  // namespace

std::string Alphabet::name(int64_t id) const {
  static const char* reserved[] = {"PAD", "Q", "SET", "NOP", "COMMIT", "END", "HIDE"};
  if (id < 7) return reserved[id];
  if (id < first_key()) return "r" + std::to_string(id);
  if (id < first_value()) return "k" + std::to_string(id - first_key());
  if (id < first_filler()) return "v" + std::to_string(id - first_value());
  return "f" + std::to_string(id - first_filler());
}

int64_t Draw::below(int64_t size) {
  ECHO_CHECK(size > 0);
  const auto range = static_cast<uint64_t>(size);
  const uint64_t uneven = (0 - range) % range;  // so many words would favour the small numbers
  uint64_t word = engine_();
  while (word < uneven) word = engine_();
  return static_cast<int64_t>(word % range);
}

std::vector<int64_t> Draw::choose(int64_t size, int64_t count) {
  ECHO_CHECK(count <= size, << count << " of " << size);
  std::vector<int64_t> items = numbered(size, 0);
  for (int64_t i = 0; i < count; ++i) std::swap(items[i], items[i + below(size - i)]);
  items.resize(count);
  return items;
}

std::vector<int64_t> Draw::keys(int64_t count) {
  std::vector<int64_t> ids = choose(alphabet_.keys(), count);
  add_offset(ids, alphabet_.first_key());
  return ids;
}

std::vector<int64_t> Draw::values(int64_t count) {
  std::vector<int64_t> ids = choose(alphabet_.values(), count);
  add_offset(ids, alphabet_.first_value());
  return ids;
}

std::vector<int64_t> Draw::filler(int64_t count) {
  std::vector<int64_t> ids(count);
  for (int64_t& id : ids) id = alphabet_.first_filler() + below(alphabet_.fillers());
  return ids;
}

// Units are free cells and whole blocks; which of the units are blocks is what is drawn.
std::vector<int64_t> Draw::scatter(const std::vector<int64_t>& sizes, int64_t cells) {
  const int64_t used = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  ECHO_CHECK(used <= cells, << used << " of " << cells);
  const auto blocks = static_cast<int64_t>(sizes.size());
  std::vector<int64_t> units = choose(cells - used + blocks, blocks);
  std::sort(units.begin(), units.end());
  int64_t shift = 0;  // cells that the blocks before take beyond one unit each
  for (int64_t i = 0; i < blocks; ++i) {
    units[i] += shift;
    shift += sizes[i] - 1;
  }
  return units;
}

std::vector<int64_t> Draw::merge(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> order;
  for (size_t stream = 0; stream < sizes.size(); ++stream)
    order.insert(order.end(), sizes[stream], static_cast<int64_t>(stream));
  shuffle(order);
  return order;
}

void SyntheticOptions::visit(Fields& fields) {
  fields("vocabulary", vocabulary, "token ids, a multiple of 4: 16 reserved, V/4 keys, V/4 values",
         rows_from(64));
  fields("seed", seed, "of the data; null: the run's", at_least(0));
  fields("validation_samples", validation_samples, "samples for the choice of a learning rate",
         count_from(0));
  fields("test_samples", test_samples, "samples of the test", count_from(0));
}

void SyntheticOptions::check() const {
  if (vocabulary % 4 == 0) return;
  throw FieldError("vocabulary", std::to_string(vocabulary) + " is no multiple of 4; take " +
                                     std::to_string(vocabulary / 4 * 4 + 4));
}

uint64_t SyntheticOptions::seed_of(const TaskPlace& place) const {
  return seed ? static_cast<uint64_t>(*seed) : place.seed;
}

Batch synthetic_batch(int64_t first, int64_t count,
                      const std::function<Sample(int64_t index)>& make) {
  Batch batch;
  for (int64_t i = 0; i < count; ++i) {
    const Sample sample = make(first + i);
    const auto length = static_cast<int64_t>(sample.inputs.size());
    if (i == 0) {
      const at::TensorOptions integers(at::kLong);
      batch.inputs = at::empty({count, length}, integers);
      batch.labels = at::empty({count, length}, integers);
      batch.prefix = at::zeros({count, length}, integers.dtype(at::kBool));
    }
    ECHO_CHECK(length == batch.inputs.size(1), << "sample " << first + i);
    std::copy(sample.inputs.begin(), sample.inputs.end(),
              batch.inputs.mutable_data_ptr<int64_t>() + i * length);
    std::copy(sample.labels.begin(), sample.labels.end(),
              batch.labels.mutable_data_ptr<int64_t>() + i * length);
    const auto query = std::find(sample.inputs.begin(), sample.inputs.end(), token::kQuery);
    std::fill_n(batch.prefix.mutable_data_ptr<bool>() + i * length, query - sample.inputs.begin(),
                true);
  }
  return batch;
}

std::string show_synthetic(const Alphabet& alphabet, const Batch& batch, int64_t row) {
  const at::Tensor inputs = batch.inputs[row].contiguous();
  const at::Tensor labels = batch.labels[row].contiguous();
  const int64_t* input = inputs.const_data_ptr<int64_t>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  const int64_t length = inputs.numel();
  const auto is_key = [&](int64_t id) {
    return id >= alphabet.first_key() && id < alphabet.first_value();
  };
  const auto is_value = [&](int64_t id) {
    return id >= alphabet.first_value() && id < alphabet.first_filler();
  };

  std::vector<std::string> words;
  for (int64_t t = 0; t < length; ++t) {
    int64_t end = t;
    while (end < length && input[end] >= alphabet.first_filler() && label[end] == -100) ++end;
    if (end > t) {
      words.push_back("…" + std::to_string(end - t) + "…");
      t = end - 1;
      continue;
    }
    std::string word = alphabet.name(input[t]);
    if (label[t] != -100) {
      word += "?→" + alphabet.name(label[t]);
    } else if (is_key(input[t]) && t + 1 < length && is_value(input[t + 1])) {
      word += "→" + alphabet.name(input[++t]);
    }
    if (t > 0 && !words.empty() && words.back() == "Q") {
      words.back() += " " + word;
    } else {
      words.push_back(word);
    }
  }
  return join(words, " ");
}

}  // namespace echo
