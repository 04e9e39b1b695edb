#include "trainers/tasks/tokens/tokens.h"

#include "framework/src/files/safetensors.h"
#include "framework/src/files/sha256.h"
#include "trainers/tasks/shared/permuted.h"

#include <echo/error.h>
#include <echo/plugin.h>
#include <echo/random.h>
#include <echo/sizes.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace echo {

void TokensOptions::visit(Fields& fields) {
  fields.path("file", file, "safetensors file whose tensor `tokens` holds the ids in a row");
  fields("vocabulary", vocabulary, "number of tokens: ids are 0 to vocabulary - 1", rows_from(1));
  fields("length", length, "tokens of a sample", count_from(1));
  fields("held_out", held_out, "share at the end: its first half validates, its second half tests",
         between(0, 0.9));
  fields("seed", seed, "of the order of training samples; null: the run's", at_least(0));
}

Tokens::Tokens(const TokensOptions& options, const TaskPlace& place)
    : options_(options), seed_(options.seed ? static_cast<uint64_t>(*options.seed) : place.seed) {}

void Tokens::prepare() {
  const std::string& file = options_.file;
  if (file.empty())
    throw FieldError("file", "is missing; name a file of token ids, as in --set task.file=PATH");
  const auto wrong = [&](const std::string& reason) { throw FieldError("file", file + reason); };
  at::Tensor read;
  try {
    SafetensorsFile opened(file);
    if (opened.entries().count("tokens")) read = opened.read("tokens");
  } catch (const Error& mistake) {
    throw FieldError("file", mistake.what());
  }
  if (!read.defined()) wrong(" has no tensor `tokens`");
  if (read.dim() != 1 || !at::isIntegralType(read.scalar_type(), /*includeBool=*/false))
    wrong(": its tensor `tokens` is no row of integers");
  read = read.to(at::kLong);
  if (read.numel() <= options_.length) {
    wrong(" holds " + std::to_string(read.numel()) + " tokens, but length " +
          std::to_string(options_.length) + " needs more; take a longer file or a smaller length");
  }
  const int64_t least = read.min().item<int64_t>(), most = read.max().item<int64_t>();
  if (least < 0 || most >= options_.vocabulary) {
    wrong(" holds the token " + std::to_string(least < 0 ? least : most) +
          "; tokens are 0 to vocabulary - 1 (" + std::to_string(options_.vocabulary - 1) + ")");
  }
  tokens_ = read;
  if (samples(Split::train) == 0)
    wrong(" leaves no sample to train on; take a longer file, a smaller length or held_out");
}

Tokens::Part Tokens::part(Split split) const {
  const int64_t size = tokens_.numel();
  const auto held_out =
      static_cast<int64_t>(std::floor(static_cast<double>(size) * options_.held_out));
  const int64_t train = size - held_out, validation = train + held_out / 2;
  if (split == Split::train) return {0, train};
  return split == Split::validation ? Part{train, validation} : Part{validation, size};
}

// Disjoint ones, whose last label is the token behind them.
int64_t Tokens::samples(Split split) const {
  if (!tokens_.defined()) return 0;
  const Part own = part(split);
  return std::max<int64_t>(0, own.end - own.begin - 1) / options_.length;
}

TaskInfo Tokens::info() const {
  TaskInfo info;
  info.vocabulary = options_.vocabulary;
  info.length = options_.length;
  info.metric = "accuracy";
  info.train_samples = samples(Split::train);
  info.validation_samples = samples(Split::validation);
  info.test_samples = samples(Split::test);
  return info;
}

std::string Tokens::fingerprint() const {
  return tokens_.defined() ? sha256_file(options_.file) : "";
}

Batch Tokens::batch(Split split, int64_t first, int64_t count) const {
  ECHO_CHECK(tokens_.defined(), << "prepare() comes first");
  const int64_t length = options_.length, all = samples(split);
  std::vector<at::Tensor> inputs, labels;
  for (int64_t sample = first; sample < first + count; ++sample) {
    const auto epoch = static_cast<uint64_t>(sample / all);
    const int64_t window =
        split == Split::train
            ? permuted(sample % all, all, derive_seed(seed_, "tokens/order", epoch))
            : sample;
    const int64_t begin = part(split).begin + window * length;
    inputs.push_back(tokens_.narrow(0, begin, length));
    labels.push_back(tokens_.narrow(0, begin + 1, length));
  }
  return {.inputs = at::stack(inputs), .labels = at::stack(labels)};
}

std::string Tokens::show(const Batch& batch, int64_t row) const {
  constexpr int64_t kMost = 64;
  const at::Tensor inputs = batch.inputs[row].contiguous();
  const int64_t* input = inputs.const_data_ptr<int64_t>();
  const std::string text = decode({input, input + std::min(kMost, inputs.numel())});
  return inputs.numel() <= kMost ? text : text + " …";
}

namespace {

void load(Registry& registry) {
  registry.add_task<Tokens, TokensOptions>("tokens", "the next token of a file of token ids");
}

}  // namespace

}  // namespace echo

ECHO_PLUGIN("tokens", "0.1.0", "the next token of a file of token ids", "tokens", echo::load)
