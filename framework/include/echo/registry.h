#pragma once

#include <echo/error.h>
#include <echo/fields.h>
#include <echo/mixer.h>
#include <echo/optimizer.h>
#include <echo/schedule.h>
#include <echo/task.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace echo {

// The options of one kind, whatever their type.
class Options {
 public:
  virtual ~Options() = default;
  virtual void visit(Fields& fields) = 0;
  virtual std::unique_ptr<Options> clone() const = 0;
};

template <class T>
class OptionsOf final : public Options {
 public:
  void visit(Fields& fields) override { value.visit(fields); }
  std::unique_ptr<Options> clone() const override { return std::make_unique<OptionsOf<T>>(*this); }
  T value;
};

// What the registry knows of one kind of a product: a Mixer is made at a Place, a Task at a
// TaskPlace, and so on.
template <class Product, class Where>
struct KindOf {
  std::string name;     // "ska", or "plugin/kind" outside the program's own folder
  std::string summary;  // one line
  std::string origin;   // path of the library that added it
  std::function<std::unique_ptr<Options>()> options;  // with the defaults
  // Fills derived defaults in; throws FieldError for values that do not fit each other.
  std::function<void(Options&, const Where&)> complete;
  std::function<std::unique_ptr<Product>(const Options&, const Where&)> make;
};

struct OptimizerPlace {};

using MixerKind = KindOf<Mixer, Place>;
using TaskKind = KindOf<Task, TaskPlace>;
using OptimizerKind = KindOf<Optimizer, OptimizerPlace>;
using ScheduleKind = KindOf<Schedule, SchedulePlace>;

// The kinds of one sort, by name. Filled by plugins while they load; afterwards only read, from any
// thread.
template <class Product, class Where>
class Kinds {
 public:
  using Kind = KindOf<Product, Where>;

  // Product needs a constructor (const O&, const Where&).
  template <class P, class O>
  void add(const std::string& name, const std::string& summary) {
    Kind kind;
    kind.name = name;
    kind.summary = summary;
    kind.options = [] { return std::make_unique<OptionsOf<O>>(); };
    kind.complete = [](Options& options, const Where& where) {
      O& value = static_cast<OptionsOf<O>&>(options).value;
      if constexpr (requires { value.complete(where); }) value.complete(where);
    };
    kind.make = [](const Options& options, const Where& where) -> std::unique_ptr<Product> {
      return std::make_unique<P>(static_cast<const OptionsOf<O>&>(options).value, where);
    };
    insert(std::move(kind));
  }

  void insert(Kind kind) {
    const std::string name = kind.name;
    if (!kinds_.emplace(name, std::move(kind)).second)
      throw Error("the kind '" + name + "' exists already");
  }
  const Kind* find(const std::string& name) const {
    const auto found = kinds_.find(name);
    return found == kinds_.end() ? nullptr : &found->second;
  }
  const std::map<std::string, Kind>& all() const { return kinds_; }

 private:
  std::map<std::string, Kind> kinds_;
};

// All kinds that a program knows. Not a singleton: whoever loads plugins owns it.
struct Registry {
  Kinds<Mixer, Place> mixers;
  Kinds<Task, TaskPlace> tasks;
  Kinds<Optimizer, OptimizerPlace> optimizers;
  Kinds<Schedule, SchedulePlace> schedules;

  template <class M, class O>
  void add_mixer(const std::string& kind, const std::string& summary) {
    mixers.add<M, O>(kind, summary);
  }
  template <class T, class O>
  void add_task(const std::string& kind, const std::string& summary) {
    tasks.add<T, O>(kind, summary);
  }
  template <class P, class O>
  void add_optimizer(const std::string& kind, const std::string& summary) {
    optimizers.add<P, O>(kind, summary);
  }
  template <class S, class O>
  void add_schedule(const std::string& kind, const std::string& summary) {
    schedules.add<S, O>(kind, summary);
  }
};

}  // namespace echo
