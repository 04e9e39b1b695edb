#include "cli/kind_list.h"
#include "cli/numbers.h"
#include "framework/src/recipe/nested.h"
#include "framework/src/text/near.h"
#include "framework/src/text/terminal.h"
#include "trainers/data/dump.h"

#include <echo/error.h>

#include <iostream>
#include <map>
#include <unistd.h>

#include <ATen/ATen.h>

namespace echo::cli {

namespace {

struct TasksArguments {
  std::string kind;
  std::optional<int64_t> samples;   // to print
  std::optional<std::string> dump;  // file
  std::optional<int64_t> count;     // of samples to dump
  std::string split = "train";
  std::vector<std::string> set;
  bool as_json = false;
};

// A task of one kind with the fields of --set, ready to be used; the run's seed is 0.
struct ChosenTask {
  KindChoice choice;
  std::unique_ptr<Task> task;
};

KindChoice choose(const Registry& registry, const TasksArguments& arguments) {
  find_kind(registry.tasks, arguments.kind, "task");
  Node fields;
  fields.type = Node::Type::map;
  fields.where = {"tasks " + arguments.kind, 0, 0};
  std::vector<std::string> overrides;
  for (const std::string& change : arguments.set) {
    const bool in_recipe = change.rfind("task.", 0) == 0;  // as `train` takes it
    overrides.push_back(in_recipe ? change.substr(5) : change);
  }
  apply_overrides(fields, overrides);
  NestedMixers nested(registry.mixers);
  return complete(registry.tasks,
                  read_kind(registry.tasks, fields, "task", "task", nested, arguments.kind),
                  TaskPlace{});
}

ChosenTask prepare(const Registry& registry, const TasksArguments& arguments) {
  ChosenTask chosen;
  chosen.choice = choose(registry, arguments);
  chosen.task = make(registry.tasks, chosen.choice, TaskPlace{});
  try {
    chosen.task->prepare();
  } catch (const FieldError& mistake) {
    throw chosen.choice.error(mistake);
  }
  return chosen;
}

Split read_split(const std::string& name) {
  const std::vector<std::string> known = {"train", "validation", "test"};
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    if (name == split_name(split)) return split;
  }
  const std::string near = did_you_mean(name, known);
  throw ConfigError("--split: unknown split '" + name + "'" +
                    (near.empty() ? "; the" : near + " The") + " splits are " + join(known));
}

// Samples [0, wanted), as many as the split has.
int64_t available(const TaskInfo& info, Split split, int64_t wanted) {
  const bool endless = split == Split::train && info.train_samples == 0;
  return endless ? wanted : std::min(wanted, dump_samples(info, split));
}

nlohmann::ordered_json sample_json(const Task& task, const Batch& batch, int64_t index) {
  const auto list = [](const at::Tensor& row) {
    const at::Tensor data = row.contiguous();
    const int64_t* begin = data.const_data_ptr<int64_t>();
    return std::vector<int64_t>(begin, begin + data.numel());
  };
  return {{"sample", index},
          {"inputs", list(batch.inputs[0])},
          {"labels", list(batch.labels[0])},
          {"text", task.show(batch, 0)}};
}

void print_sample(const Task& task, const Batch& batch, int64_t index, const Terminal& terminal) {
  const int64_t labels = (batch.labels != -100).sum().item<int64_t>();
  const std::string title = "sample " + std::to_string(index) + ": " +
                            std::to_string(batch.inputs.size(1)) + " tokens, " +
                            std::to_string(labels) + (labels == 1 ? " label" : " labels");
  constexpr int64_t kNoLimit = int64_t{1} << 40;
  std::cout << styled(terminal, Style::bold, title) << "\n"
            << wrap("  " + task.show(batch, 0), terminal.width > 0 ? terminal.width : kNoLimit, 2)
            << "\n";
}

int print_samples(const Registry& registry, const TasksArguments& arguments) {
  const Split split = read_split(arguments.split);
  const ChosenTask chosen = prepare(registry, arguments);
  const Terminal terminal = look_at(STDOUT_FILENO);
  nlohmann::ordered_json samples = nlohmann::ordered_json::array();
  const int64_t count = available(chosen.task->info(), split, *arguments.samples);
  for (int64_t i = 0; i < count; ++i) {
    const Batch batch = chosen.task->batch(split, i, 1);
    if (arguments.as_json) {
      samples.push_back(sample_json(*chosen.task, batch, i));
    } else {
      if (i > 0) std::cout << "\n";
      print_sample(*chosen.task, batch, i, terminal);
    }
  }
  if (arguments.as_json) std::cout << samples.dump() << "\n";
  return kDone;
}

int dump(const Registry& registry, const TasksArguments& arguments) {
  const Split split = read_split(arguments.split);
  const ChosenTask chosen = prepare(registry, arguments);
  const TaskInfo info = chosen.task->info();
  const int64_t count =
      arguments.count ? available(info, split, *arguments.count) : dump_samples(info, split);
  Node options = write_kind(chosen.choice);
  options.remove("kind");
  dump_task(*chosen.task, split, count, *arguments.dump,
            {{"kind", chosen.choice.kind},
             {"options", to_json(options).dump()},
             {"split", split_name(split)}});
  std::cout << "wrote " << count << " samples of the " << split_name(split) << " split to "
            << *arguments.dump << "\n";
  return kDone;
}

std::string number_list(const std::map<std::string, double>& numbers) {
  std::string text;
  for (const auto& [name, value] : numbers)
    text += (text.empty() ? "" : ", ") + name + " " + number(value).text;
  return text.empty() ? "none" : text;
}

// What a model is measured by, or what must be set before that is known.
struct Facts {
  std::optional<TaskInfo> info;
  std::string needs;
};

Facts facts(const Registry& registry, const TasksArguments& arguments) {
  try {
    return {make(registry.tasks, choose(registry, arguments), TaskPlace{})->info(), ""};
  } catch (const ConfigError& mistake) {
    if (!arguments.set.empty()) throw;
    return {std::nullopt, mistake.what()};  // a field without a default
  }
}

// Fields and facts; nothing is read or drawn.
int show_kind(const Registry& registry, const TasksArguments& arguments) {
  const TaskKind& kind = find_kind(registry.tasks, arguments.kind, "task");
  const auto [info, needs] = facts(registry, arguments);
  if (!arguments.as_json) {
    if (!info) return print_kind(kind, {{"needs", needs}});
    return print_kind(kind, {{"vocabulary", count(info->vocabulary).text},
                             {"length", count(info->length).text},
                             {"metric", info->metric},
                             {"levels", number_list(info->levels)}});
  }
  nlohmann::ordered_json found = kind_json(kind);
  if (info) {
    found["vocabulary"] = info->vocabulary;
    found["length"] = info->length;
    found["metric"] = info->metric;
    found["levels"] = info->levels;
  }
  std::cout << found.dump(2) << "\n";
  return kDone;
}

int run(Program& program, const TasksArguments& arguments) {
  const Registry& registry = program.plugins().registry();
  const bool needs_kind = arguments.samples || arguments.dump || !arguments.set.empty();
  if (arguments.kind.empty() && needs_kind)
    throw ConfigError("a KIND is missing, as in `" + program_name() + " tasks mqar --sample 3`");
  if (arguments.samples && arguments.dump)
    throw ConfigError("--sample prints and --dump writes; give one of them");
  if (arguments.count && !arguments.dump)
    throw ConfigError("--count belongs to --dump; --sample N takes the number itself");
  if (arguments.kind.empty()) return list_kinds(registry.tasks, arguments.as_json);
  if (arguments.dump && arguments.dump->empty())
    throw ConfigError("--dump needs the name of a file, as in --dump data.safetensors");
  if (arguments.dump) return dump(registry, arguments);
  if (arguments.samples) return print_samples(registry, arguments);
  return show_kind(registry, arguments);
}

}  // namespace

void add_tasks(Program& program) {
  auto arguments = std::make_shared<TasksArguments>();
  Command& command =
      program.command("What there is", "tasks",
                      "what a model can be trained and scored on, its fields and samples");
  command.argument("KIND", arguments->kind, "the task to show; without it all are listed")
      ->type_name("TASK");
  command.option("--sample", arguments->samples, "N", "print N samples")
      ->transform(whole_number(1));
  command.option("--dump", arguments->dump, "FILE",
                 "write the samples as safetensors: inputs and labels, int64");
  command
      .option("--count", arguments->count, "N", "samples to dump (all of them; 1000 of fresh data)")
      ->transform(whole_number(1));
  command.option("--split", arguments->split, "SPLIT", "train (the default), validation or test");
  command.repeated("--set", arguments->set, "FIELD=VALUE", "change one field, as in pairs=8");
  command.add_json(arguments->as_json);
  command.example("tasks", "all kinds");
  command.example("tasks mqar", "its fields and levels");
  command.example("tasks mqar --sample 3 --set pairs=8", "three samples to read");
  command.example("tasks mqar --dump data.safetensors --set samples=1000 --set seed=3",
                  "a data set as a file");
  command.example("tasks language_model --sample 2 --set text=README.md", "what a text looks like");
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
