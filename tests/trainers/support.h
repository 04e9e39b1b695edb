#pragma once

#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/console.h"
#include "trainers/optimizers/adamw/adamw.h"
#include "trainers/train.h"

#include <echo/linear.h>
#include <echo/random.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <stdlib.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

namespace echo::testing_run {

namespace fs = std::filesystem;

// Kinds that are small enough to train a run in milliseconds.

struct NoOptions {
  void visit(Fields&) {}
};

// Mean of the past through a linear map; `poison` puts a nan into the output of one token.
struct MeanOptions {
  bool poison = false;
  bool steep = false;
  bool auxiliary = false;
  void visit(Fields& fields) {
    fields("poison", poison, "makes one output nan");
    fields("steep", steep, "finite, but with a gradient that is not");
    fields("auxiliary", auxiliary, "adds an auxiliary loss");
  }
};

class Mean final : public Mixer {
 public:
  Mean(const MeanOptions& options, const Place& place)
      : Mixer(place),
        options_(options),
        map_(child(
            "", std::make_unique<Linear>(
                    place.width, std::vector<LinearBlock>{{"map", place.width, init::normal(0.3)}},
                    place.options))) {}
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override { return map_.flops(batch * length); }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override {
    const at::Tensor count = at::arange(1, x.size(1) + 1, x.options()).unsqueeze(1);
    at::Tensor y = map_(x.cumsum(1) / count);
    if (options_.auxiliary && span.probe) span.probe->loss("square", y.square().mean());
    if (options_.steep) y = y + (x * 0).sqrt();
    if (options_.poison) y = y / at::zeros_like(y);
    return y;
  }

 private:
  MeanOptions options_;
  Traits traits_;
  Linear& map_;
};

// Called before every batch that any task makes, from whatever thread.
inline std::function<void(Split split, int64_t first)> on_batch;

// What the task says of its data.
inline std::string data;

struct RepeatOptions {
  int64_t length = 6;
  int64_t unlabelled = 0;
  bool padded = false;
  int64_t validation = 8;
  int64_t test = 0;
  void visit(Fields& fields) {
    fields("length", length, "tokens", at_least(1));
    fields("unlabelled", unlabelled, "every so many samples one has no label; 0: none");
    fields("padded", padded, "samples have different lengths");
    fields("validation", validation, "samples");
    fields("test", test, "samples");
  }
};

// Random tokens; the label is the token itself.
class Repeat final : public Task {
 public:
  Repeat(const RepeatOptions& options, const TaskPlace& place)
      : options_(options), seed_(place.seed) {}
  TaskInfo info() const override {
    TaskInfo info{.vocabulary = 11, .length = options_.length};
    info.validation_samples = options_.validation;
    info.test_samples = options_.test;
    info.lengths = options_.padded;
    return info;
  }
  std::string fingerprint() const override { return data; }
  Batch batch(Split split, int64_t first, int64_t count) const override {
    if (on_batch) on_batch(split, first);
    Batch batch;
    batch.inputs = at::empty({count, options_.length}, at::kLong);
    batch.labels = at::empty_like(batch.inputs);
    if (options_.padded) batch.lengths = at::empty({count}, at::kLong);
    for (int64_t row = 0; row < count; ++row) fill(batch, split, row, first + row);
    return batch;
  }

 private:
  void fill(Batch& batch, Split split, int64_t row, int64_t sample) const {
    at::Generator stream = generator(seed_, "repeat" + std::to_string(static_cast<int>(split)),
                                     static_cast<uint64_t>(sample));
    batch.inputs[row].random_(0, 11, stream);
    batch.labels[row].copy_(batch.inputs[row]);
    if (options_.unlabelled > 0 && sample % options_.unlabelled == 0) batch.labels[row].fill_(-100);
    if (!options_.padded) return;
    const int64_t valid = 1 + sample % options_.length;
    batch.lengths[row].fill_(valid);
    batch.labels[row].narrow(0, valid, options_.length - valid).fill_(-100);
  }

  RepeatOptions options_;
  uint64_t seed_;
};

class Flat final : public Schedule {
 public:
  Flat(const NoOptions&, const SchedulePlace&) {}
  double factor(int64_t step) const override { return 1.0 / static_cast<double>(1 + step % 3); }
};

inline void add_kinds(Registry& registry) {
  registry.add_mixer<Mean, MeanOptions>("mean", "mean of the past");
  registry.add_task<Repeat, RepeatOptions>("repeat", "says what it hears");
  registry.add_optimizer<AdamW, AdamWOptions>("adamw", "Adam");
  registry.add_schedule<Flat, NoOptions>("flat", "up and down");
}

inline Plugins& plugins() {
  static Plugins plugins = [] {
    Plugins made;
    add_kinds(made.registry());
    return made;
  }();
  return plugins;
}

inline const char* const kRecipe =
    "name: small\n"
    "seed: 3\n"
    "model:\n"
    "  width: 8\n"
    "  mixers:\n"
    "    mean: {kind: mean}\n"
    "  blocks: [[mean], [mean]]\n"
    "task: {kind: repeat}\n"
    "train:\n"
    "  steps: 12\n"
    "  batch: 4\n"
    "  log_every: 1\n"
    "  optimizer: {kind: adamw, peak_rate: 0.01}\n"
    "  schedule: {kind: flat}\n"
    "  checkpoint: {every: 4, keep: 2}\n"
    "evaluate: {every: 3}\n";

inline Recipe recipe(const std::vector<std::string>& overrides = {}) {
  return read_recipe_text(kRecipe, "small.yaml", "/", overrides, plugins().registry());
}

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = testing::TempDir() + "echo-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make " + pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

// While it lives, files of this process cannot grow beyond `bytes`: the poor man's full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

inline std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

inline void write(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

// The lines of metrics.jsonl without what depends on the clock.
inline std::vector<std::string> metrics_without_time(const fs::path& file) {
  std::vector<std::string> lines;
  std::istringstream stream(content(file));
  for (std::string line; std::getline(stream, line);) {
    auto parsed = nlohmann::ordered_json::parse(line);
    parsed.erase("seconds");
    parsed.erase("tokens_per_second");
    lines.push_back(parsed.dump());
  }
  return lines;
}

// A run of kRecipe in a folder of its own.
struct SmallRun {
  TemporaryFolder folder;
  std::ostringstream screen;
  std::vector<std::string> overrides;

  fs::path recipe_file() const {
    write(folder / "small.yaml", kRecipe);
    return folder / "small.yaml";
  }
  TrainRequest request() const {
    return {.recipe = recipe_file().string(),
            .run = (folder / "run").string(),
            .overrides = overrides,
            .threads = 1,
            .command = {"echo-lm", "train"}};
  }
  TrainResult start() { return with(request()); }
  TrainResult resume() {
    TrainRequest again = request();
    again.resume = true;
    return with(again);
  }
  TrainResult with(const TrainRequest& request) {
    Console console(screen, [] { return Terminal{}; });
    return train(request, plugins(), console);
  }
  RunFolder run() const { return RunFolder(folder / "run"); }
};

// Runs `action` and returns the message of the E that it throws; empty when it throws none.
template <class E, class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

}  // namespace echo::testing_run
