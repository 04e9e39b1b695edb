#include "framework/src/recipe/check.h"

#include "framework/src/recipe/kinds.h"

#include <cmath>
#include <set>

#include <c10/util/Exception.h>

namespace echo {

namespace {

// LibTorch's own refusals, as of a size beyond 64 bits, are the recipe's fault here.
template <class Kinds, class Where>
auto make_checked(const Kinds& kinds, const KindChoice& choice, const Where& where) {
  try {
    return make(kinds, choice, where);
  } catch (const c10::Error& failure) {
    throw ConfigError(choice.where, choice.path + ": '" + choice.kind +
                                        "' cannot be made: " + failure.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw ConfigError(choice.where,
                      choice.path + ": '" + choice.kind + "' does not fit into memory");
  }
}

// Gives a field the value of another struct's field of the same name.
void copy_value(const Field& from, const Field& to) {
  std::visit(
      [&](const auto& target) {
        using T = std::decay_t<decltype(target)>;
        if constexpr (std::is_pointer_v<T>) {
          *target = *std::get<T>(from.target);
        } else if constexpr (std::is_same_v<T, Choice>) {
          target.set(std::get<Choice>(from.target).get());
        }
      },
      to.target);
}

// The written field that makes a mixer ask for a prefix: without it, the mixer does not. Empty when
// it is not one field alone.
std::string field_that_needs_prefix(const MixerKind& kind, const KindChoice& choice,
                                    const Place& place) {
  const std::unique_ptr<Options> defaults = kind.options();
  const std::vector<Field> plain = fields_of(*defaults);
  for (size_t i = 0; i < plain.size(); ++i) {
    if (choice.places.count(plain[i].name) == 0) continue;
    const std::unique_ptr<Options> options = choice.options->clone();
    copy_value(plain[i], fields_of(*options)[i]);
    try {
      if (!kind.make(*options, place)->traits().needs_prefix) return plain[i].name;
    } catch (const std::exception&) {  // the default does not fit the other fields
    }
  }
  return "";
}

}  // namespace

void RecipeChecker::finish() {
  check_batches();
  make_tasks();
  find_steps();
  check_optimization();
  check_vocabulary();
  check_positions();
  check_mixers();
}

Location RecipeChecker::place(const std::string& field) const {
  for (std::string name = field; !name.empty();) {
    const auto found = places_.find(name);
    if (found != places_.end()) return found->second;
    const size_t dot = name.rfind('.');
    name = dot == std::string::npos ? "" : name.substr(0, dot);
  }
  return recipe_.task.where;
}

void RecipeChecker::check_batches() {
  const TrainRecipe& train = recipe_.train;
  if (train.batch % train.accumulation != 0) {
    throw ConfigError(place("train.accumulation"),
                      "train.accumulation: " + std::to_string(train.accumulation) +
                          " micro-batches do not divide train.batch (" +
                          std::to_string(train.batch) + "); choose a divisor of it");
  }
  if (!recipe_.evaluate.batch) recipe_.evaluate.batch = train.batch / train.accumulation;
}

void RecipeChecker::make_tasks() {
  const TaskPlace where{.seed = static_cast<uint64_t>(recipe_.seed), .batch = recipe_.train.batch};
  const auto add = [&](const KindChoice& choice) {
    tasks_.push_back({&choice, make_checked(registry_.tasks, choice, where)->info()});
  };
  add(recipe_.task);
  for (const auto& [name, choice] : recipe_.evaluate.tasks) add(choice);
}

// Epochs become steps, so that the resolved recipe says how long the run is.
void RecipeChecker::find_steps() {
  TrainRecipe& train = recipe_.train;
  if (train.steps && train.epochs) {
    throw ConfigError(place("train.epochs"),
                      "train.epochs: stands beside train.steps; keep one, and write null for the "
                      "other where a recipe is extended");
  }
  if (train.steps) return;
  if (!train.epochs) {
    throw ConfigError(place("train"),
                      "train.steps is missing; write the number of training steps, or train.epochs "
                      "for a task with a training set that ends");
  }
  int64_t samples = tasks_[0].info.train_samples;
  if (samples == 0) {
    const TaskPlace where{.seed = static_cast<uint64_t>(recipe_.seed), .batch = train.batch};
    const auto task = make_checked(registry_.tasks, recipe_.task, where);
    try {
      task->prepare();
    } catch (const FieldError& mistake) {
      throw recipe_.task.error(mistake);
    }
    samples = task->info().train_samples;
  }
  if (samples == 0) {
    throw ConfigError(place("train.epochs"), "train.epochs: the task '" + recipe_.task.kind +
                                                 "' has fresh data without end, so there are no "
                                                 "epochs; write train.steps");
  }
  const double steps =
      std::ceil(*train.epochs * static_cast<double>(samples) / static_cast<double>(train.batch));
  constexpr double kMostSteps = 1e15;
  if (steps > kMostSteps) {
    throw ConfigError(place("train.epochs"), "train.epochs: " + exact_number(*train.epochs) +
                                                 " epochs are more than 1e15 steps");
  }
  train.steps = static_cast<int64_t>(steps);
  train.epochs.reset();
}

void RecipeChecker::check_optimization() {
  TrainRecipe& train = recipe_.train;
  const SchedulePlace where{.steps = *train.steps};
  train.optimizer = complete(registry_.optimizers, train.optimizer, OptimizerPlace{});
  make_checked(registry_.optimizers, train.optimizer, OptimizerPlace{});
  train.schedule = complete(registry_.schedules, train.schedule, where);
  make_checked(registry_.schedules, train.schedule, where);
}

void RecipeChecker::check_vocabulary() {
  ModelRecipe& model = recipe_.model;
  const bool written = model.vocabulary > 0;
  if (!written) model.vocabulary = tasks_[0].info.vocabulary;
  if (model.vocabulary < 1) {
    throw ConfigError(place("model"), "model.vocabulary is missing; the task '" +
                                          recipe_.task.kind +
                                          "' does not say how many tokens it has");
  }
  for (const CheckedTask& task : tasks_) {
    const int64_t needed = task.info.vocabulary;
    if (needed <= model.vocabulary) continue;
    const Location where = written ? place("model.vocabulary") : task.choice->where;
    throw ConfigError(where, (written ? "model.vocabulary: " : task.choice->path + ": ") +
                                 "the task '" + task.choice->kind + "' has " +
                                 std::to_string(needed) + " tokens, but the model knows " +
                                 std::to_string(model.vocabulary) + "; write " +
                                 (written ? "at least " : "model.vocabulary: at least ") +
                                 std::to_string(needed));
  }
}

void RecipeChecker::check_positions() {
  PositionsRecipe& positions = recipe_.model.positions;
  if (positions.kind == PositionsKind::none) {
    if (!positions.length) return;
    throw ConfigError(
        place("model.positions.length"),
        "model.positions.length: there are no positions to count; write kind: learned "
        "beside it, or remove it");
  }
  const bool written = positions.length.has_value();
  for (const CheckedTask& task : tasks_) {
    const int64_t needed = task.info.length;
    if (written && needed > *positions.length) {
      throw ConfigError(place("model.positions.length"),
                        "model.positions.length: " + std::to_string(*positions.length) +
                            " positions, but samples of " + task.choice->path + " have up to " +
                            std::to_string(needed) + " tokens; write at least " +
                            std::to_string(needed));
    }
    if (!written) positions.length = std::max(positions.length.value_or(0), needed);
  }
  if (*positions.length > 0) return;
  throw ConfigError(place("model.positions"),
                    "model.positions.length is missing; the task does not say how long its samples "
                    "are, so write the number of positions");
}

void RecipeChecker::check_mixers() {
  const ModelRecipe& model = recipe_.model;
  Place where{.width = model.width,
              .layer = 0,
              .layers = static_cast<int64_t>(model.blocks.size()),
              .options = at::TensorOptions().dtype(at::kFloat).device(at::kMeta)};
  std::set<std::string> seen;
  for (size_t block = 0; block < model.blocks.size(); ++block) {
    where.layer = static_cast<int64_t>(block);
    for (const BranchRecipe& branch : model.blocks[block]) {
      if (seen.insert(branch.mixer_name).second) check_traits(branch.mixer, where);
    }
  }
}

void RecipeChecker::check_traits(const KindChoice& mixer, const Place& where) {
  const auto made = make_checked(registry_.mixers, mixer, where);
  const Traits& traits = made->traits();
  const std::string subject = mixer.path + ": '" + mixer.kind + "' ";
  if (recipe_.train.precision == Precision::bfloat16 && !traits.bfloat16) {
    throw ConfigError(place("train.precision"),
                      "train.precision: the mixer '" + mixer.kind + "' (" + mixer.path +
                          ") does not work in bfloat16; write float32, or take another mixer");
  }
  const int64_t sequence = recipe_.parallel.sequence;
  if (sequence > 1 && (!traits.stretch || traits.needs_prefix)) {
    throw ConfigError(mixer.where, subject +
                                       "cannot share a sequence among ranks, which "
                                       "parallel.sequence: " +
                                       std::to_string(sequence) +
                                       " asks for; take another mixer, or parallel.sequence: 1");
  }
  for (const CheckedTask& task : tasks_) {
    const std::string owner = "the task '" + task.choice->kind + "' (" + task.choice->path + ")";
    if (traits.needs_prefix && !task.info.prefix) {
      const std::string field =
          field_that_needs_prefix(*registry_.mixers.find(mixer.kind), mixer, where);
      const FieldError mistake(field, "the mixer reads a prefix as a whole, which " + owner +
                                          " does not mark; choose another " +
                                          (field.empty() ? "mixer" : field) +
                                          ", or a task with a prefix");
      throw mixer.error(mistake);
    }
    if (task.info.starts && !traits.starts) {
      throw ConfigError(mixer.where, subject + "cannot forget where a document begins, which " +
                                         owner + " asks for; take another mixer");
    }
    if (task.info.lengths && !traits.lengths) {
      throw ConfigError(mixer.where, subject + "cannot skip padding, which " + owner +
                                         " asks for; take another mixer");
    }
  }
}

}  // namespace echo
