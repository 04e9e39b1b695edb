#pragma once

#include "framework/src/recipe/tree.h"

#include <echo/registry.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// A kind and its options, read, checked and completed: one mixer, task, optimizer or schedule.
// Options are shared between copies and never change.
struct KindChoice {
  std::string kind;
  std::shared_ptr<const Options> options;
  std::string path;                        // dotted: "model.mixers.recall"
  Location where;                          // of its map
  std::map<std::string, Location> places;  // of the fields that were written

  // The mistake of one of its fields, at the place of that field.
  ConfigError error(const FieldError& mistake) const;
};

// Makes the product of a choice; a FieldError of its constructor becomes a ConfigError with the
// field's place. Model and trainer make everything through it.
template <class Product, class Where>
std::unique_ptr<Product> make(const Kinds<Product, Where>& kinds, const KindChoice& choice,
                              const Where& where) {
  const auto* kind = kinds.find(choice.kind);
  ECHO_CHECK(kind, << "kind " << choice.kind);
  try {
    return kind->make(*choice.options, where);
  } catch (const FieldError& mistake) {
    throw choice.error(mistake);
  }
}

enum class NormKind { rms_norm, layer_norm };

struct NormRecipe {
  NormKind kind = NormKind::rms_norm;
  double eps = 1e-6;

  void visit(Fields& fields);
};

enum class NormPlacement { pre, post, none };

// x += scale * mixer(norm(x)) (pre), x += scale * norm(mixer(x)) (post), or without a norm.
struct BranchRecipe {
  std::string mixer_name;  // of the template; never enters files of tensors
  KindChoice mixer;        // completed for the place of this branch
  NormPlacement norm = NormPlacement::pre;
  double scale = 1;
  Location where;

  void visit(Fields& fields);
};

struct HeadRecipe {
  bool tied = true;  // the head's matrix is the embedding's

  void visit(Fields& fields);
};

enum class PositionsKind { none, learned };

struct PositionsRecipe {
  PositionsKind kind = PositionsKind::none;
  std::optional<int64_t> length;  // set after reading where kind is learned

  void visit(Fields& fields);
};

struct ModelRecipe {
  int64_t width = 0;
  int64_t vocabulary = 0;  // after reading never 0: the task's unless it was written
  std::map<std::string, KindChoice> mixers;       // the templates
  std::vector<std::vector<BranchRecipe>> blocks;  // bottom to top, `repeat` expanded
  NormRecipe norm;
  HeadRecipe head;
  PositionsRecipe positions;
  double dropout = 0;
  double embedding_scale = 1;
  double logit_scale = 1;

  void visit(Fields& fields);  // all but mixers and blocks
};

enum class Precision { float32, bfloat16 };

struct CheckpointRecipe {
  std::optional<int64_t> every = 500;  // none: at the end only
  int64_t keep = 2;

  void visit(Fields& fields);
};

struct TrainRecipe {
  std::optional<int64_t> steps;  // always set after reading
  std::optional<double> epochs;  // read into steps; never set after reading
  int64_t batch = 64;            // samples of one step, over all ranks and micro-batches
  int64_t accumulation = 1;      // micro-batches of one step
  Precision precision = Precision::float32;  // of x; parameters stay float32
  std::optional<double> clip = 1;            // none: no clipping
  int64_t log_every = 10;
  CheckpointRecipe checkpoint;
  KindChoice optimizer;
  KindChoice schedule;

  void visit(Fields& fields);  // all but optimizer and schedule
};

struct EvaluateRecipe {
  std::optional<int64_t> every;             // none: at the end only
  std::optional<int64_t> batch;             // always set after reading
  std::map<std::string, KindChoice> tasks;  // beside the recipe's own, which is called "task"

  void visit(Fields& fields);  // all but tasks
};

// How a run is spread over ranks: data x sequence of them.
struct ParallelRecipe {
  std::optional<int64_t> data;  // none: as many as there are ranks for
  int64_t sequence = 1;         // ranks that share every sequence
  int64_t zero = 0;             // 1: every rank keeps the optimiser's state of its own parameters
  double time_limit = 600;      // seconds
  double grace = 30;            // seconds

  void visit(Fields& fields);
};

struct Recipe {
  std::string name;
  int64_t seed = 0;
  std::vector<std::string> plugins;  // absolute paths
  ModelRecipe model;
  KindChoice task;
  TrainRecipe train;
  EvaluateRecipe evaluate;
  ParallelRecipe parallel;

  void visit(Fields& fields);  // name, seed, plugins, parallel
};

// Reads a recipe, with `extends` followed and overrides ("train.steps=100") applied, and checks
// all of it: afterwards model and trainer can be built. Throws ConfigError for every mistake.
Recipe read_recipe(const std::string& path, const std::vector<std::string>& overrides,
                   const Registry& registry);

// The same from a text; `name` stands for the file in messages, and paths are relative to `folder`.
Recipe read_recipe_text(const std::string& text, const std::string& name, const std::string& folder,
                        const std::vector<std::string>& overrides, const Registry& registry);

// The same from a tree (see tree.h), as a bench makes them.
Recipe read_recipe(const Node& tree, const Registry& registry);

// The plugins that a recipe names: to be loaded before the recipe is read.
struct RecipePlugin {
  std::string path;  // absolute
  Location where;    // that names it
};
std::vector<RecipePlugin> recipe_plugins(const std::string& path,
                                         const std::vector<std::string>& overrides);
std::vector<RecipePlugin> recipe_plugins(const Node& tree);

// Every default written out, paths absolute; reading it gives the same recipe, and the same text.
std::string resolved_yaml(const Recipe& recipe);

}  // namespace echo
