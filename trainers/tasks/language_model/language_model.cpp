#include "trainers/tasks/language_model/language_model.h"

#include "trainers/tasks/shared/permuted.h"
#include "trainers/tasks/shared/show.h"

#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/random.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

namespace echo {

void LanguageModelOptions::visit(Fields& fields) {
  fields.path("text", text,
              "a file, or a folder whose files are joined in the order of their paths");
  fields("length", length, "bytes of a sample", count_from(1));
  fields("held_out", held_out, "share at the end: its first half validates, its second half tests",
         between(0, 0.9));
  fields("context", context,
         "bytes of an evaluation window that are read, not scored; null: half of length",
         at_least(0));
  fields("validation_samples", validation_samples,
         "windows to score, evenly spread over the validation part; 0: all of it", at_least(0));
  fields("test_samples", test_samples,
         "windows to score, evenly spread over the test part; 0: all of it", at_least(0));
  fields("seed", seed, "of the places of training samples; null: the run's", at_least(0));
}

void LanguageModelOptions::complete(const TaskPlace&) {
  if (text.empty()) {
    throw FieldError("text", "is missing; name a file or a folder, as in --set task.text=PATH");
  }
  if (context && *context >= length) {
    throw FieldError("context", std::to_string(*context) + " is not smaller than length (" +
                                    std::to_string(length) + ")");
  }
}

LanguageModel::LanguageModel(const LanguageModelOptions& options, const TaskPlace& place)
    : options_(options), seed_(options.seed ? static_cast<uint64_t>(*options.seed) : place.seed) {}

void LanguageModel::prepare() {
  auto text = std::make_unique<Text>(options_.text);
  divide(text->size());
  if (text->size() < bytes_needed()) {
    throw FieldError("text", options_.text + " holds " + std::to_string(text->size()) +
                                 " bytes, but length " + std::to_string(options_.length) +
                                 " needs at least " + std::to_string(bytes_needed()) +
                                 ": take a longer text or a smaller length");
  }
  text_ = std::move(text);
}

void LanguageModel::divide(int64_t size) {
  const auto held_out =
      static_cast<int64_t>(std::floor(static_cast<double>(size) * options_.held_out));
  train_ = {0, size - held_out};
  validation_ = {train_.end, train_.end + held_out / 2};
  test_ = {validation_.end, size};
}

// One window and its last label to train on, and a byte for each held-out split.
int64_t LanguageModel::bytes_needed() const {
  const double share = options_.held_out;
  const auto held_out = [&](int64_t size) {
    return static_cast<int64_t>(std::floor(static_cast<double>(size) * share));
  };
  auto size = static_cast<int64_t>(static_cast<double>(options_.length + 1) / (1 - share));
  if (share > 0) size = std::max(size, static_cast<int64_t>(2 / share));
  size = std::max<int64_t>(0, size - 2);
  while (size - held_out(size) <= options_.length || (share > 0 && held_out(size) < 2)) ++size;
  return size;
}

const LanguageModel::Part& LanguageModel::part(Split split) const {
  return split == Split::train ? train_ : split == Split::validation ? validation_ : test_;
}

// Disjoint windows that fit wherever an epoch's first one begins.
int64_t LanguageModel::windows_per_epoch() const {
  return std::max<int64_t>(1, train_.size() / options_.length - 1);
}

int64_t LanguageModel::windows(Split split) const {
  return (part(split).size() + stride() - 1) / stride();
}

int64_t LanguageModel::scored_windows(Split split) const {
  const int64_t wanted =
      split == Split::validation ? options_.validation_samples : options_.test_samples;
  return wanted == 0 ? windows(split) : std::min(wanted, windows(split));
}

TaskInfo LanguageModel::info() const {
  TaskInfo info;
  info.vocabulary = 256;
  info.length = options_.length;
  info.text = true;
  info.metric = "bits_per_byte";
  info.levels["uninformed"] = 8;
  if (!text_) return info;
  info.train_samples = windows_per_epoch();
  info.validation_samples = scored_windows(Split::validation);
  info.test_samples = scored_windows(Split::test);
  return info;
}

LanguageModel::Window LanguageModel::train_window(int64_t index) const {
  const int64_t count = windows_per_epoch();
  const int64_t room = train_.size() - 1 - count * options_.length;  // before or after the windows
  const auto epoch = static_cast<uint64_t>(index / count);
  const auto shifts = static_cast<uint64_t>(std::min(room, options_.length - 1) + 1);
  const auto shift =
      static_cast<int64_t>(derive_seed(seed_, "language_model/shift", epoch) % shifts);
  const int64_t window =
      permuted(index % count, count, derive_seed(seed_, "language_model/order", epoch));
  return {train_.begin + shift + window * options_.length, 0};
}

LanguageModel::Window LanguageModel::held_out_window(Split split, int64_t index) const {
  const int64_t all = windows(split);
  const int64_t scored = scored_windows(split);
  ECHO_CHECK(index < scored, << "window " << index << " of " << scored);
  const int64_t window =
      static_cast<int64_t>(static_cast<__int128>(index) * all / scored);  // evenly spread
  const int64_t first = part(split).begin + window * stride();
  const int64_t end = std::min(part(split).end, first + stride());
  const int64_t begin = end - 1 - options_.length;  // its last byte predicts byte end - 1
  return {begin, first - 1 - begin};
}

Batch LanguageModel::batch(Split split, int64_t first, int64_t count) const {
  ECHO_CHECK(text_, << "prepare() comes first");
  ECHO_CHECK(first >= 0, << "sample " << first);
  const int64_t length = options_.length;
  Batch batch;
  batch.inputs = at::empty({count, length}, at::TensorOptions(at::kLong));
  batch.labels = at::empty({count, length}, at::TensorOptions(at::kLong));
  std::vector<uint8_t> bytes(length + 1);
  for (int64_t i = 0; i < count; ++i) {
    const Window window =
        split == Split::train ? train_window(first + i) : held_out_window(split, first + i);
    text_->read(window.begin, length + 1, bytes.data());
    std::copy_n(bytes.begin(), length, batch.inputs.mutable_data_ptr<int64_t>() + i * length);
    int64_t* labels = batch.labels.mutable_data_ptr<int64_t>() + i * length;
    std::copy_n(bytes.begin() + 1, length, labels);
    std::fill_n(labels, window.context, -100);
  }
  return batch;
}

Scores LanguageModel::evaluate(Evaluator& model, Split split) const {
  ECHO_CHECK(text_, << "prepare() comes first");
  const int64_t total = split == Split::train ? windows_per_epoch() : scored_windows(split);
  Scores scores;
  for (int64_t first = 0; first < total; first += model.batch_size()) {
    const Batch part = batch(split, first, std::min(model.batch_size(), total - first));
    const Scores more = score(model, part);
    add(scores, {{"loss", more.at("loss")}});
    model.progress(std::min(total, first + model.batch_size()), total);
  }
  const Score loss = scores["loss"];
  scores["bits_per_byte"] = {loss.sum / std::numbers::ln2, loss.count};
  scores["share_scored"] = {loss.count, static_cast<double>(part(split).size())};
  return scores;
}

std::string LanguageModel::show(const Batch& batch, int64_t row) const {
  constexpr size_t kLongest = 600;
  constexpr size_t kEnd = 240;
  const at::Tensor inputs = batch.inputs[row].contiguous();
  const int64_t* input = inputs.const_data_ptr<int64_t>();
  const std::string text = decode({input, input + inputs.numel()});
  if (text.size() <= kLongest) return visible_text(text);
  return visible_text(text.substr(0, kEnd)) + "\n… " + std::to_string(text.size() - 2 * kEnd) +
         " bytes …\n" + visible_text(text.substr(text.size() - kEnd));
}

std::vector<int64_t> LanguageModel::encode(const std::string& text) const {
  std::vector<int64_t> tokens;
  for (const char byte : text) tokens.push_back(static_cast<uint8_t>(byte));
  return tokens;
}

std::string LanguageModel::decode(const std::vector<int64_t>& tokens) const {
  std::string text;
  for (const int64_t token : tokens) {
    if (token < 0 || token > 255)
      throw Error("token " + std::to_string(token) + " is no byte (0 to 255)");
    text += static_cast<char>(token);
  }
  return text;
}

namespace {

void load(Registry& registry) {
  registry.add_task<LanguageModel, LanguageModelOptions>("language_model",
                                                         "the next byte of any text");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("language_model", "0.1.0", "the next byte of any text", "language_model", echo::load)
