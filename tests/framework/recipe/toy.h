#pragma once

#include "framework/src/recipe/recipe.h"

#include <echo/mixer.h>

#include <gtest/gtest.h>

namespace echo::toy {

// A registry of small kinds, so that these tests depend on no mixer or task of the program.

enum class Mode { exact, prefix };

struct RecallOptions {
  int64_t heads = 2;
  std::optional<int64_t> rank;
  double ridge = 0.1;
  bool gate = false;
  std::string note = "plain";
  std::vector<int64_t> kernels = {3};
  std::vector<double> rates;
  std::optional<double> limit;
  Mode mode = Mode::exact;

  void visit(Fields& fields) {
    fields("heads", heads, "number of heads; must divide the width", between(1, 64));
    fields("rank", rank, "of the memory; null: width / heads", at_least(1));
    fields("ridge", ridge, "added to the diagonal", above(0));
    fields("gate", gate, "whether reads are gated");
    fields("note", note, "a remark");
    fields("kernels", kernels, "taps of the convolutions", at_least(1));
    fields("rates", rates, "of forgetting", between(0, 1));
    fields("limit", limit, "largest value; null: none");
    fields.choice("mode", mode, {{"exact", Mode::exact}, {"prefix", Mode::prefix}},
                  "which tokens are read");
  }
  void complete(const Place& place) {
    if (place.width % heads != 0) {
      throw FieldError("heads", std::to_string(heads) + " does not divide the width (" +
                                    std::to_string(place.width) + ")");
    }
    if (!rank) rank = place.width / heads;
  }
};

class ToyMixer : public Mixer {
 public:
  ToyMixer(const Traits& traits, const Place& place) : Mixer(place), traits_(traits) {}
  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t, int64_t) const override { return 0; }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span&) override { return x; }

 private:
  Traits traits_;
};

class Recall final : public ToyMixer {
 public:
  Recall(const RecallOptions& options, const Place& place)
      : ToyMixer({.needs_prefix = options.mode == Mode::prefix}, place) {
    parameter("weight", {options.rank.value(), place.width}, init::zeros());
    if (options.note == "unmakable") throw FieldError("note", "this remark cannot be made");
  }
};

struct PlainOptions {
  std::optional<double> depth_scale;

  void visit(Fields& fields) { fields("depth_scale", depth_scale, "null: 1 / (layer + 1)"); }
  void complete(const Place& place) {
    if (!depth_scale) depth_scale = 1.0 / static_cast<double>(place.layer + 1);
  }
};

// Lacks all that a mixer may lack.
class Plain final : public ToyMixer {
 public:
  Plain(const PlainOptions&, const Place& place)
      : ToyMixer({.starts = false, .lengths = false, .bfloat16 = false}, place) {}
};

struct Segment {
  int64_t length = 8;
  int64_t samples = 0;
  void visit(Fields& fields) {
    fields("length", length, "tokens", at_least(1));
    fields("samples", samples, "number of samples", at_least(0));
  }
};

struct Segments {
  std::vector<Segment> train;
  void visit(Fields& fields) { fields.sections("train", train, "of the training set"); }
};

struct CopyOptions {
  int64_t length = 8;
  int64_t vocabulary = 16;
  bool prefix = false;
  bool starts = false;
  bool lengths = false;
  std::string text;
  std::vector<std::string> more;
  Segments segments;

  void visit(Fields& fields) {
    fields("length", length, "tokens of a sample", at_least(0));
    fields("vocabulary", vocabulary, "number of tokens", at_least(0));
    fields("prefix", prefix, "whether a prefix is marked");
    fields("starts", starts, "whether samples hold several documents");
    fields("lengths", lengths, "whether samples are padded");
    fields.path("text", text, "a text file");
    fields.path("more", more, "more text files");
    fields.section("segments", segments, "fixed sets");
  }
  void complete(const TaskPlace&) {
    for (size_t i = 0; i < segments.train.size(); ++i) {
      if (segments.train[i].length > length) {
        throw FieldError("segments.train." + std::to_string(i) + ".length",
                         "longer than the task's length");
      }
    }
  }
};

class Copy final : public Task {
 public:
  Copy(const CopyOptions& options, const TaskPlace&) : options_(options) {}
  TaskInfo info() const override {
    TaskInfo info{.vocabulary = options_.vocabulary, .length = options_.length};
    info.prefix = options_.prefix;
    info.starts = options_.starts;
    info.lengths = options_.lengths;
    for (const Segment& segment : options_.segments.train) info.train_samples += segment.samples;
    return info;
  }
  Batch batch(Split, int64_t, int64_t) const override { return {}; }

 private:
  CopyOptions options_;
};

struct AdamOptions {
  double peak_rate = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  void visit(Fields& fields) {
    fields("peak_rate", peak_rate, "largest learning rate", above(0));
    fields("betas", betas, "decays of the moments", between(0, 1));
  }
  void complete(const OptimizerPlace&) {
    if (betas.size() != 2) throw FieldError("betas", "expected two numbers");
  }
};

struct SgdOptions {
  double peak_rate = 1e-1;
  void visit(Fields& fields) { fields("peak_rate", peak_rate, "largest learning rate", above(0)); }
};

class ToyOptimizer final : public Optimizer {
 public:
  template <class O>
  ToyOptimizer(const O&, const OptimizerPlace&) {}
  double peak_rate() const override { return 1; }
  void update(std::span<Slot>, double, int64_t) override {}
  std::vector<std::string> state_names() const override { return {}; }
};

struct CosineOptions {
  int64_t warmup = 0;
  void visit(Fields& fields) { fields("warmup", warmup, "steps of linear rise", at_least(0)); }
  void complete(const SchedulePlace& place) {
    if (warmup > place.steps) {
      throw FieldError("warmup", "longer than the run (" + std::to_string(place.steps) + " steps)");
    }
  }
};

class ToySchedule final : public Schedule {
 public:
  ToySchedule(const CosineOptions&, const SchedulePlace&) {}
  double factor(int64_t) const override { return 1; }
};

inline Registry registry() {
  Registry registry;
  registry.add_mixer<Recall, RecallOptions>("recall", "remembers");
  registry.add_mixer<Plain, PlainOptions>("plain", "lacks everything");
  registry.add_task<Copy, CopyOptions>("copy", "repeats");
  registry.add_optimizer<ToyOptimizer, AdamOptions>("adamw", "Adam");
  registry.add_optimizer<ToyOptimizer, SgdOptions>("sgd", "gradient descent");
  registry.add_schedule<ToySchedule, CosineOptions>("cosine", "half a cosine");
  return registry;
}

inline const char* const kRecipe =
    "model:\n"
    "  width: 8\n"
    "  mixers:\n"
    "    memory: {kind: recall, heads: 2}\n"
    "  blocks: [[memory]]\n"
    "task: {kind: copy}\n"
    "train: {steps: 10}\n";

// kRecipe with one piece of it replaced.
inline std::string with(const std::string& piece, const std::string& other) {
  std::string text = kRecipe;
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), other);
}

inline Recipe read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return read_recipe_text(text, "a.yaml", "/recipes", overrides, registry());
}

// The message that a recipe gives; empty when there is nothing wrong with it.
inline std::string mistake(const std::string& text,
                           const std::vector<std::string>& overrides = {}) {
  try {
    read(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace echo::toy
